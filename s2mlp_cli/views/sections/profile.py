"""The section of a profile: how fast each implementation of the shift is, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from s2mlp_cli import units
from s2mlp_cli.records.profile import Level, Limit, ProfileRecord, ProfileResult
from s2mlp_cli.records.profile_rows import (
    implementation,
    options,
    peak_bytes,
    rankings,
    rate_interval,
    setting,
    where,
)
from s2mlp_cli.views import ranking
from s2mlp_cli.views.document import Column, Number, Section, Table, Tone, listed
from s2mlp_cli.views.profile import answers
from s2mlp_cli.views.profile_remarks import above_limits, doubts, earlier_runs, means
from s2mlp_cli.views.sections.environment import facts
from s2mlp_cli.views.sections.profile_pictures import pictures

TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "undecided": "quiet"}
_CAPTIONS: dict[Level, str] = {
    "model": "Whole model",
    "block": "One block",
    "op": "The shift alone",
}


def section(record: ProfileRecord) -> Section:
    """Return the section."""
    return Section(
        title="Speed and memory: " + listed((row.model for row in record.results), "models"),
        answer=" ".join(answers(record)),
        pictures=pictures(record),
        tables=(*_rankings(record), *_levels(record), *_limits(record), *_skipped(record)),
        remarks=(
            "Speeds are relative to slice, paired round by round; 'undecided' when the 95 % "
            "interval holds 1.",
            *means(record),
            *earlier_runs(record),
            *above_limits(record.results),
            *doubts(record),
            *_references(record),
        ),
        facts=facts(record),
    )


Reader = Callable[[ProfileResult], Any]

# What tells rows apart beside the shift; what is the same in all rows goes into the caption.
_IDENTITY: dict[str, Reader] = {
    "Model": lambda row: row.model,
    "Stage": lambda row: row.stage,
    "Device": lambda row: row.device,
    "Type": lambda row: row.dtype,
    "Batch": lambda row: row.batch_size,
    "Input": lambda row: "×".join(map(str, row.input_size)),
    "Mode": lambda row: row.mode,
    "How": lambda row: ", ".join(options(row)),
}


def _levels(record: ProfileRecord) -> Iterator[Table]:
    for level in _CAPTIONS:
        rows = [row for row in record.results if row.level == level and row.median_s is not None]
        if rows:
            yield _level(level, rows)


def _level(level: Level, rows: list[ProfileResult]) -> Table:
    values = {name: {read(row) for row in rows} for name, read in _IDENTITY.items()}
    varying = [name for name, found in values.items() if len(found) > 1]
    common = [
        f"stage {value}" if name == "Stage" else f"batch {value}" if name == "Batch" else str(value)
        for name, found in values.items()
        if len(found) == 1 and (value := next(iter(found))) not in (None, "")
    ]
    columns = [
        (Column("Shift"), implementation),
        *((Column(name, numeric=name in ("Stage", "Batch")), _IDENTITY[name]) for name in varying),
        *_measures(level),
    ]
    return Table(
        caption=f"{_CAPTIONS[level]}: {', '.join(common)}",
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(read(row) for _, read in columns) for row in rows),
    )


def _measures(level: Level) -> list[tuple[Column, Reader]]:
    """Return the columns of what was measured, each with what it reads from a row."""
    rate: tuple[Column, Reader]
    limit: tuple[Column, Reader]
    if level == "op":
        rate = Number("Rate", unit="GB/s", scale=1e9, bar=True), lambda row: row.bytes_per_s
        limit = _percent("of copy"), lambda row: row.copy_fraction
    else:
        rate = Number("Speed", unit="images/s", bar=True), lambda row: row.images_per_s
        limit = _percent("of matmul"), lambda row: row.matmul_fraction
    return [
        (Number("Median", unit="ms", scale=1e-3), lambda row: row.median_s),
        (Column("95 %", unit="ms"), lambda row: _range(row.ci95_s, 1e3)),
        rate,
        (Column("to slice", "{:.3f}".format, "×", numeric=True), _ratio),
        (Column("95 %", unit="×"), _ratio_range),
        (Column("Verdict", tones=TONES), _verdict),
        (_percent("Shifts"), _share),
        limit,
        (Number("Peak", unit="MiB", scale=2**20), peak_bytes),
    ]


def _share(row: ProfileResult) -> float | None:
    """Return what the shifts take; ``none`` has no shifts that could take anything."""
    return row.shift_share.value if row.shift_share and row.shift != "none" else None


def _percent(title: str) -> Column:
    return Column(title, lambda part: f"{100 * part:.1f}", "%", numeric=True)


def _ratio(row: ProfileResult) -> float | None:
    return row.ratio_to_slice.value if row.ratio_to_slice else None


def _ratio_range(row: ProfileResult) -> str | None:
    known = row.ratio_to_slice if row.shift != "slice" else None
    return _range(known.ci95) if known else None


def _range(ends: tuple[float, float] | None, factor: float = 1) -> str | None:
    return " to ".join(units.significant(end * factor) for end in ends) if ends else None


def _verdict(row: ProfileResult) -> str | None:
    if row.shift == "slice":
        return "reference"
    return row.ratio_to_slice.verdict if row.ratio_to_slice else None


def _rankings(record: ProfileRecord) -> Iterator[Table]:
    for ranked in rankings(record.results):
        first = ranked[0].row
        yield Table(
            caption=f"Models, the fastest first: {ranking.conditions(first)}",
            columns=(
                Column("Model"),
                Column("Rank", numeric=True),
                Column("Shift"),
                Number("Speed", unit="images/s", bar=True),
                Column("95 %", unit="images/s"),
                _percent("of the first"),
                _percent("of matmul"),
                Number("Peak", unit="MiB", scale=2**20),
            ),
            rows=tuple(
                (
                    row.model,
                    rank,
                    row.shift,
                    row.images_per_s,
                    _range(rate_interval(row)),
                    (row.images_per_s or 0.0) / (first.images_per_s or 1.0),
                    row.matmul_fraction,
                    peak_bytes(row),
                )
                for rank, row in ranked
            ),
            note=ranking.NOTE,
        )


def _limits(record: ProfileRecord) -> Iterator[Table]:
    if record.limits:
        yield Table(
            caption="Limits, measured in the same run",
            columns=(
                Column("Device"),
                Column("Type"),
                Number("Copy", unit="GB/s", scale=1e9),
                Column("Matrix product", units.count, "FLOP/s", numeric=True),
            ),
            rows=tuple(map(_limit, record.limits)),
        )


def _limit(limit: Limit) -> tuple[object, ...]:
    return limit.device, limit.dtype, limit.copy_bytes_per_s, limit.matmul_flops_per_s


def _skipped(record: ProfileRecord) -> Iterator[Table]:
    rows = [row for row in record.results if row.skipped]
    if rows:
        yield Table(
            caption="Not timed",
            columns=(Column("Shift"), Column("Of"), Column("Setting"), Column("Why", prose=True)),
            rows=tuple(
                (implementation(row), where(row), setting(row), row.skipped) for row in rows
            ),
        )


def _references(record: ProfileRecord) -> list[str]:
    said = {row.shift: row.reference for row in record.results if row.reference}
    return [f"{shift} is {reference}." for shift, reference in said.items()]
