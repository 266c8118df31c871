"""The section of a profile: how fast each implementation of the shift is, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from s2mlp_cli import units
from s2mlp_cli.records.profile_rows import implementation, peak_bytes, setting, where
from s2mlp_cli.records.profile import Level, Limit, Measured, ProfileRecord, ProfileResult
from s2mlp_cli.render.document import Column, Number, Section, Table, Tone
from s2mlp_cli.render.sections.answer import answer
from s2mlp_cli.render.sections.environment import facts
from s2mlp_cli.render.sections.profile_pictures import pictures

TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "undecided": "quiet"}
_CAPTIONS: dict[Level, str] = {
    "model": "Whole models",
    "block": "One block",
    "op": "The shift alone",
}


def section(record: ProfileRecord) -> Section:
    """Return the section."""
    return Section(
        title="Speed and memory of each implementation of the shift",
        answer=answer(record),
        pictures=pictures(record),
        tables=(*_levels(record), *_limits(record), *_skipped(record)),
        remarks=(
            "Speeds are relative to slice, paired round by round; 'undecided' when the 95 % "
            "interval holds 1.",
            *record.warnings,
            *_references(record),
        ),
        facts=facts(record),
    )


def _levels(record: ProfileRecord) -> Iterator[Table]:
    for level, caption in _CAPTIONS.items():
        rows = [row for row in record.results if row.level == level and row.median_s is not None]
        if rows:
            columns = _columns(level)
            yield Table(
                caption=caption,
                columns=tuple(column for column, _ in columns),
                rows=tuple(tuple(read(row) for _, read in columns) for row in rows),
            )


Reader = Callable[[ProfileResult], Any]


def _columns(level: Level) -> list[tuple[Column, Reader]]:
    """Return the columns of a level, each with what it reads from a row."""
    rate: tuple[Column, Reader]
    limit: tuple[Column, Reader]
    if level == "op":
        rate = Number("Rate", unit="GB/s", scale=1e9, bar=True), lambda row: row.bytes_per_s
        limit = _percent("of copy"), lambda row: row.copy_fraction
    else:
        rate = Number("Speed", unit="images/s", bar=True), lambda row: row.images_per_s
        limit = _percent("of matrix product"), lambda row: row.matmul_fraction
    return [
        (Column("Shift"), implementation),
        (Column("Of"), where),
        (Column("Setting"), setting),
        (Number("Median", unit="ms", scale=1e-3), lambda row: row.median_s),
        (Column("95 %", unit="ms"), lambda row: _range(row.ci95_s, 1e3)),
        rate,
        (Column("Speed to slice", "{:.3f}".format, "×", numeric=True), _ratio),
        (Column("95 %", unit="×"), lambda row: _interval(row.ratio_to_slice)),
        (Column("Verdict", tones=TONES), _verdict),
        (_percent("Shifts' part"), lambda row: row.shift_share and row.shift_share.value),
        limit,
        (Number("Peak memory", unit="MiB", scale=2**20), peak_bytes),
    ]


def _percent(title: str) -> Column:
    return Column(title, lambda part: f"{100 * part:.1f}", "%", numeric=True)


def _ratio(row: ProfileResult) -> float | None:
    return row.ratio_to_slice.value if row.ratio_to_slice else None


def _interval(measured: Measured | None) -> str | None:
    return _range(measured.ci95) if measured else None


def _range(ends: tuple[float, float] | None, factor: float = 1) -> str | None:
    return f"{ends[0] * factor:.4g} to {ends[1] * factor:.4g}" if ends else None


def _verdict(row: ProfileResult) -> str | None:
    if row.shift == "slice":
        return "reference"
    return row.ratio_to_slice.verdict if row.ratio_to_slice else None


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
            columns=(Column("Shift"), Column("Of"), Column("Setting"), Column("Why")),
            rows=tuple(
                (implementation(row), where(row), setting(row), row.skipped) for row in rows
            ),
        )


def _references(record: ProfileRecord) -> list[str]:
    said = {row.shift: row.reference for row in record.results if row.reference}
    return [f"{shift} is {reference}." for shift, reference in said.items()]
