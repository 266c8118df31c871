"""The tables of a profile: one for each level, the roofline, and what was not timed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from s2mlp_cli.records.base import BASELINE, FLOORS
from s2mlp_cli.records.profile import TORCH, Level, Measured, ProfileRecord, ProfileResult
from s2mlp_cli.records.profile_rows import implementation, options, precision, where
from s2mlp_cli.views.document import (
    EMPTY,
    MOST_NAMES,
    Cell,
    Column,
    Number,
    Table,
    Tone,
    measured,
    percentage,
    plural,
)

Name = TypeVar("Name", bound=Hashable)

# The widest first.
LEVELS: dict[Level, str] = {
    "model": "Whole model",
    "block": "One block",
    "op": "The shift alone",
}

_TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "undecided": "quiet"}

# A column, with what it reads from a row.
Shown = tuple[Column, Callable[[ProfileResult], Any]]

# What tells rows apart beside the implementation: shared by all rows, it goes into the caption.
_IDENTITY: tuple[Shown, ...] = (
    (Column("Model", common="{}", heading=True), lambda row: row.model),
    (Column("Stage", numeric=True, common="stage {}", heading=True), lambda row: row.stage),
    (Column("Map", common="{}", heading=True), lambda row: None if row.level == "model" else
     "×".join(map(str, row.shape)) or None),
    (Column("Device", common="{}", heading=True), lambda row: row.device),
    (Column("Dtype", common="{}", heading=True), precision),
    (Column("Batch", numeric=True, common="batch {}", heading=True), lambda row: row.batch_size),
    (Column("Input", common="{}", heading=True), lambda row: "×".join(map(str, row.input_size))),
    (Column("Mode", common="{}", heading=True), lambda row: row.mode),
    (Column("Options", common="{}", heading=True), lambda row: ", ".join(options(row)) or None),
)  # fmt: skip

_MEMORY = {
    "Peak RSS": "peak_rss_bytes",
    "Weights": "weights_bytes",
    "Activations": "activations_bytes",
    "Peak allocated": "peak_allocated_bytes",
    "Peak reserved": "peak_reserved_bytes",
}


def grouped(
    rows: Iterable[tuple[Name | None, ProfileResult]],
) -> list[tuple[Name, list[ProfileResult]]]:
    """Return the rows by what they have in common; those without it (None) are left out."""
    found: dict[Name, list[ProfileResult]] = {}
    for name, row in rows:
        if name is not None:
            found.setdefault(name, []).append(row)
    return list(found.items())


def folded(cases: Iterable[str]) -> str:
    """Return cases with what all share said once: ``v2-small, cpu: fp32; bf16``."""
    words = [case.split(", ") for case in dict.fromkeys(cases)]
    shared = [word for word in words[0] if all(word in each for each in words)]
    own = [", ".join(word for word in each if word not in shared) for each in words]
    more = [f"and {plural(len(own) - MOST_NAMES, 'other case')}"] if len(own) > MOST_NAMES else []
    rest = "; ".join([*own[:MOST_NAMES], *more])
    return ", ".join(shared) + (f": {rest}" if rest else "")


def level_table(level: Level, rows: Sequence[ProfileResult]) -> Table:
    """Return the rows of one level, with what is measured there."""
    columns = (*_IDENTITY, *_measures(level, rows))
    return Table(
        caption=LEVELS[level],
        columns=(Column("Shift"), *(column for column, _ in columns)),
        rows=tuple((_name(row), *(read(row) for _, read in columns)) for row in rows),
    )


def _name(row: ProfileResult) -> Cell:
    """Return the implementation, marked where a warning is about this row."""
    name = implementation(row)
    return Cell(name, f"{name}\u00a0!" if row.warnings else name, "warn" if row.warnings else None)


def _measures(level: Level, rows: Sequence[ProfileResult]) -> Iterator[Shown]:
    """Yield the columns of what was measured."""
    factor, unit = _scale(max(row.median_s or 0 for row in rows))
    operation = level == "op"
    time = Column("Median", unit=unit, numeric=True)
    yield from _pair(time, lambda row: measured(row.median_s, row.ci95_s, factor))
    if operation:
        yield Number("GB/s", scale=1e9, digits=3, bar=True), lambda row: row.bytes_per_s
    else:
        yield Number("images/s", digits=3, bar=True), lambda row: row.images_per_s
    ratio = Column(f"×\u00a0{BASELINE}", numeric=True)
    yield from _pair(ratio, lambda row: _cells(None if row.is_baseline else row.ratio_to_slice))
    yield Column("Verdict", tones=_TONES), _verdict
    yield Column("n", numeric=True), lambda row: len(row.samples_s) or None
    yield Number("p50", unit=unit, scale=1 / factor), lambda row: row.p50_s
    yield Number("p90", beside=True, scale=1 / factor), lambda row: row.p90_s
    yield Number("p99", beside=True, scale=1 / factor), lambda row: row.p99_s
    yield from _pair(Column("Shifts", unit="%", numeric=True), share)
    yield (
        Column("Max error", lambda error: f"{error:.2g}", numeric=True),
        lambda row: None if row.runtime == TORCH else row.error,
    )
    yield Number("Compile", unit="s"), lambda row: row.compile_s
    over = Column("Over products", unit=unit, numeric=True, optional=True)
    yield from _pair(
        over,
        lambda row: _cells(row.cost_over_products_s if row.shift != "products" else None, factor),
    )
    if operation:
        yield percentage("of copy"), lambda row: row.copy_fraction
    else:
        yield percentage("of matmul"), lambda row: row.matmul_fraction
    for number, (title, field) in enumerate(_MEMORY.items()):
        yield _memory(Number(title, unit="MiB", scale=2**20, beside=number > 1), field)


def _scale(slowest: float) -> tuple[float, str]:
    """Return the factor and the unit in which the slowest median reads well."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if slowest * factor >= 1:
            return factor, unit
    return 1e6, "µs"


def _pair(
    column: Column, read: Callable[[ProfileResult], tuple[Cell, Cell]]
) -> tuple[Shown, Shown]:
    """Return the columns of a value and of its interval."""
    interval = Column("95\u00a0%", numeric=True, beside=True)
    return (column, lambda row: read(row)[0]), (interval, lambda row: read(row)[1])


def _cells(found: Measured | None, factor: float = 1.0) -> tuple[Cell, Cell]:
    return measured(found.value, found.ci95, factor, digits=3) if found else (EMPTY, EMPTY)


def _verdict(row: ProfileResult) -> str | None:
    if row.is_baseline:
        return "baseline"
    return row.ratio_to_slice.verdict if row.ratio_to_slice else None


def share(row: ProfileResult) -> tuple[Cell, Cell]:
    """Return what the shifts take; ``none`` has none, and without an interval nothing is known."""
    found = row.shift_share if row.shift not in FLOORS else None
    if found is None or found.ci95 is None:
        return EMPTY, EMPTY
    value, interval = _cells(found, 100)
    low, high = found.ci95
    if low > 0:
        return value, interval
    return Cell(None, "<0" if high < 0 else "noise", "quiet"), interval


def _memory(column: Column, field: str) -> Shown:
    """Return a column of memory; a CPU's weights are in its resident set already."""
    told = field == "peak_rss_bytes"
    return (
        column,
        lambda row: getattr(row.memory, field, None) if told or row.device != "cpu" else None,
    )


def roofline_table(record: ProfileRecord) -> Table:
    """Return what each device reaches at most."""
    return Table(
        caption="Roofline, measured in the same run",
        columns=(
            Column("Device"),
            Column("Dtype"),
            Column("Threads", numeric=True),
            Column("Copy", unit="GB/s", numeric=True),
            Column("Matrix product", unit="TFLOP/s", numeric=True),
        ),
        rows=tuple(
            (
                limit.device,
                limit.dtype,
                limit.threads if limit.device == "cpu" else None,
                _known(limit.copy_bytes_per_s, 1e-9),
                _known(limit.matmul_flops_per_s, 1e-12),
            )
            for limit in record.limits
        ),
    )


def _known(value: float | None, factor: float) -> Cell:
    return Cell(None, "unknown") if value is None else measured(value, None, factor)[0]


def skipped_table(rows: Iterable[ProfileResult]) -> Table:
    """Return a row for each reason, with all the implementations and cases that it is about."""
    return Table(
        caption="Not timed",
        columns=(Column("Shift"), Column("Of"), Column("Why", prose=True)),
        rows=tuple(
            (
                ", ".join(dict.fromkeys(map(implementation, skipped))),
                folded([f"{where(row)}, batch {row.batch_size}" for row in skipped]),
                why,
            )
            for why, skipped in grouped((row.skipped, row) for row in rows)
        ),
    )
