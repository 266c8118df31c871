"""Loaded records in, their comparison out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from s2mlp_cli.compare.environments import environment_differences
from s2mlp_cli.compare.matching import compare
from s2mlp_cli.compare.predictions import judge_image_by_image
from s2mlp_cli.compare.quantities import Quantity, quantities
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import Record
from s2mlp_cli.records.compare import CompareRecord, Source


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
    rows, lone = compare(_paired([quantities(record) for record in loaded], loaded[0].kind))
    rows, remarks = judge_image_by_image(rows, paths, loaded)
    compared: CompareRecord = CompareRecord.new(
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
        remarks=remarks,
        results=rows,
    )
    if fail_slower is not None:
        _refuse_an_idle_gate(compared)
    return compared


def _paired(series: Sequence[Sequence[Quantity]], kind: str) -> list[list[Quantity]]:
    """Put one counted model against another: with one in each record, it is clear which is meant.

    Only counts are exact whatever was counted; a time of one model is no measure for another's.
    """
    names = [dict.fromkeys(each.row for each in source) for source in series]
    if kind != "count" or any(len(rows) != 1 for rows in names):
        return [list(source) for source in series]
    name = " → ".join(dict.fromkeys(row for rows in names for row in rows))
    return [[replace(each, row=name) for each in source] for source in series]


def _refuse_an_idle_gate(record: CompareRecord) -> None:
    """Raise where no row could ever fail, so that a gate never passes for want of samples."""
    files = ", ".join(source.path for source in record.sources)
    if not record.gated:
        raise RecordError(
            f"--fail-slower has nothing to judge: {files} have no timed row in common; compare "
            "profiles of the same models and shifts"
        )
    if len(record.unjudged) == len(record.gated):
        raise RecordError(
            f"--fail-slower has nothing to judge: none of the {len(record.gated)} timed rows of "
            f"{files} has an interval; measure longer, with `s2mlp profile --max-time`"
        )
