"""Loaded records in, their comparison out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s2mlp_cli.comparing.environments import environment_differences
from s2mlp_cli.comparing.matching import compare
from s2mlp_cli.comparing.quantities import quantities
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import Record
from s2mlp_cli.records.compare import ComparedRow, CompareRecord, Source


def compare_records(
    paths: Sequence[Path], loaded: Sequence[Record], fail_slower: float | None
) -> CompareRecord:
    """Return the comparison of records that were read from ``paths``.

    Raises:
        RecordError: they are not all of one kind, or a gate has nothing to judge.
    """
    for path, record in zip(paths, loaded, strict=True):
        if record.kind != loaded[0].kind:
            raise RecordError(
                f"{paths[0]} is a record of {loaded[0].kind} and {path} one of {record.kind}; "
                "compare records of one kind"
            )
    rows, lone = compare([quantities(record) for record in loaded])
    if fail_slower is not None:
        _refuse_an_idle_gate(paths, rows)
    return CompareRecord.new(
        command=("s2mlp", "compare", *map(str, paths)),
        environment=loaded[-1].environment,
        compared=loaded[0].kind,
        sources=tuple(
            Source(path=str(path), schema_name=record.schema_, created=record.created)
            for path, record in zip(paths, loaded, strict=True)
        ),
        environments=environment_differences([record.environment for record in loaded]),
        lone=lone,
        fail_slower=fail_slower,
        results=rows,
    )


def _refuse_an_idle_gate(paths: Sequence[Path], rows: Sequence[ComparedRow]) -> None:
    """Raise where no row could ever fail, so that a gate never passes for want of samples."""
    judged = [row for row in rows if row.ratio]
    files = ", ".join(map(str, paths))
    if not judged:
        raise RecordError(
            f"--fail-slower has nothing to judge: {files} have no timed row in common; compare "
            "profiles of the same models and shifts"
        )
    if not any(row.ratio and row.ratio.ci95 for row in judged):
        raise RecordError(
            f"--fail-slower has nothing to judge: none of the {len(judged)} timed rows of {files} "
            "has an interval; measure longer, with `s2mlp profile --max-time`"
        )
