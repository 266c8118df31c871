"""``profile`` for people: the answer first, then a table for each case, then what to doubt."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from s2mlp_cli import units
from s2mlp_cli.records.profile import Measured, ProfileRecord, ProfileResult
from s2mlp_cli.records.profile_rows import (
    implementation,
    not_told_apart,
    options,
    peak_bytes,
    rankings,
    where,
)
from s2mlp_cli.views import ranking
from s2mlp_cli.views.profile_remarks import above_limits, doubts, earlier_runs, limits, means
from s2mlp_cli.views.sheets import Sheet
from s2mlp_cli.views.tables import dense_table

_SHEET = (
    "model", "shift", "level", "stage", "device", "dtype", "batch_size", "mode", "compiled",
    "cuda_graph", "channels_last", "threads", "median_s", "ci95_s", "p50_s", "p90_s", "p99_s",
    "images_per_s", "bytes_per_s", "ratio_to_slice", "cost_over_none_s", "shift_share",
    "copy_fraction", "matmul_fraction", "weights_bytes", "peak_allocated_bytes",
    "peak_reserved_bytes", "activations_bytes", "peak_rss_bytes", "error", "reference", "skipped",
)  # fmt: skip
# Fields with an interval: each becomes a column of values and two of its ends.
_RANGES = ("ci95_s", "ratio_to_slice", "cost_over_none_s", "shift_share")


def terminal(record: ProfileRecord) -> RenderableType:
    """Return what a terminal shows."""
    parts: list[RenderableType] = [Text(line, style="answer") for line in answers(record)]
    for ranked in rankings(record.results):
        parts += [Text(), *ranking.terminal(ranked)]
    for rows in _cases(record.results):
        parts += [Text(), *_case(rows)]
    parts.append(Text())
    quiet = (*limits(record), *means(record), *earlier_runs(record))
    parts += [Text(line, style="quiet") for line in quiet]
    parts += [Text(f"! {line}", style="warn") for line in doubts(record)]
    return Group(*parts)


def answers(record: ProfileRecord) -> list[str]:
    """Return the sentences that answer: how fast is each implementation, and what do shifts cost?

    They speak of the whole model where it was measured, else of the widest level that was. Where
    several models ran, the last one ranks them; it is the only one where no implementation beside
    the references was asked for.
    """
    timed = [row for row in record.results if row.median_s is not None]
    widest = next((level for level in ("model", "block", "op") if _has(timed, level)), None)
    rows = [row for row in timed if row.level == widest]
    if not rows:
        return ["Nothing was timed."]
    ranked = rankings(rows)
    cases = [case for case in _cases(rows) if not ranked or _chooses(case)]
    sentences = [sentence for case in cases for sentence in _of_case(case)]
    return [*sentences, *map(ranking.sentence, ranked)]


def _chooses(rows: list[ProfileResult]) -> bool:
    """Whether implementations beside the references were timed."""
    return any(row.shift not in (None, "slice", "none") for row in rows)


# So many implementations are answered one by one; of more, the fastest is.
FEW = 2


def _of_case(rows: list[ProfileResult]) -> list[str]:
    """Return a sentence for each implementation that was asked for, or one on the fastest."""
    right = [row for row in rows if row.shift != "none"]
    asked = [row for row in right if row.shift != "slice"] or right or rows
    if len(asked) <= FEW:
        return [_answer(row) for row in asked]
    fastest = min(right, key=lambda row: row.median_s or 0)
    alike = not_told_apart(fastest, right)
    company = [f"Not told apart from it: {', '.join(alike)}."] if alike else []
    return [f"Fastest of {len(right)}, {_answer(fastest)}", *company]


def _has(rows: Iterable[ProfileResult], level: str) -> bool:
    return any(row.level == level for row in rows)


def _answer(row: ProfileResult) -> str:
    parts = [f"{implementation(row)}: {units.seconds(row.median_s or 0)} ({where(row)})"]
    if row.ratio_to_slice and row.shift != "slice":
        ratio = row.ratio_to_slice
        parts.append(f"{_ranged(ratio)} × the speed of slice: {ratio.verdict}")
    if row.shift_share and row.shift != "none":
        parts.append(_share(row.shift_share))
    return "; ".join(parts) + "."


def _share(share: Measured) -> str:
    """Say what the shifts take, or that these samples cannot tell it from nothing."""
    if share.ci95 is None or share.ci95[0] <= 0:
        return "what its shifts take is not resolved"
    return f"shifts take {_ranged(share, 100)} % of its time"


def _cases(rows: Iterable[ProfileResult]) -> Iterator[list[ProfileResult]]:
    """Group the rows that were measured in the same rounds."""
    groups: dict[tuple[object, ...], list[ProfileResult]] = {}
    for row in rows:
        key = row.key[:1] + row.key[2:]  # all but the implementation
        groups.setdefault(key, []).append(row)
    return iter(groups.values())


def _case(rows: list[ProfileResult]) -> Iterator[RenderableType]:
    first = rows[0]
    shape = "×".join(map(str, first.shape))
    words = [shape, first.dtype, first.device, first.mode, *options(first)]
    yield Text(where(first), style="key").append(f" · {' · '.join(words)}", style="quiet")
    timed = [row for row in rows if row.median_s is not None]
    if timed:
        yield _speeds(timed)
        yield _costs(timed)
        yield from _cuda_memory(timed)
    yield from (Text(remark, style="quiet") for remark in above_limits(timed))
    for row in rows:
        if row.skipped:
            yield Text(f"{row.shift} skipped: {row.skipped}", style="warn")
        elif row.reference:
            yield Text(f"{row.shift} is {row.reference}", style="quiet")


def _speeds(rows: list[ProfileResult]) -> Table:
    """Median, rate and the ratio to ``slice``, each with its interval."""
    factor, unit = _scale(rows)
    rate = "GB/s" if rows[0].level == "op" else "images/s"
    table = dense_table("shift", f"median {unit}", "95 %", rate, "× slice", "95 %", "")
    for row in rows:
        speed = row.bytes_per_s and row.bytes_per_s / 1e9
        ratio = row.ratio_to_slice if row.shift != "slice" else None
        table.add_row(
            implementation(row),
            _number(row.median_s, factor),
            _ends(row.ci95_s, factor),
            _number(speed if row.level == "op" else row.images_per_s, digits=3),
            *_both(ratio),
            ratio.verdict if ratio else "reference" if row.shift == "slice" else "",
        )
    return table


def _costs(rows: list[ProfileResult]) -> Table:
    """Percentiles, the part of the shifts, the distance to the limit, and a CPU's memory."""
    factor, unit = _scale(rows)
    operation = rows[0].level == "op"
    on_cpu = rows[0].device == "cpu"
    table = dense_table(
        "shift", f"p50 {unit}", "p90", "p99", "shifts %", "95 %",
        "% of copy" if operation else "% of matmul", *(("peak RSS MiB",) if on_cpu else ()),
    )  # fmt: skip
    for row in rows:
        share = row.shift_share if row.shift != "none" else None
        table.add_row(
            implementation(row),
            _number(row.p50_s, factor),
            _number(row.p90_s, factor),
            _number(row.p99_s, factor),
            *_both(share, 100),
            _number(row.copy_fraction if operation else row.matmul_fraction, 100, 3),
            *((_number(peak_bytes(row), 2.0**-20),) if on_cpu else ()),
        )
    return table


def _cuda_memory(rows: list[ProfileResult]) -> Iterator[Table]:
    """Yield what CUDA's allocator counted, if it did; the peaks hold the weights as well."""
    known = [(row, row.memory) for row in rows if row.memory and row.device != "cpu"]
    if known:
        table = dense_table(
            "shift", "weights MiB", "activations", "peak allocated", "peak reserved"
        )
        for row, memory in known:
            parts = (
                memory.weights_bytes,
                memory.activations_bytes,
                memory.peak_allocated_bytes,
                memory.peak_reserved_bytes,
            )
            table.add_row(implementation(row), *(_number(part, 2.0**-20) for part in parts))
        yield table


def _scale(rows: list[ProfileResult]) -> tuple[float, str]:
    """Return the factor and the unit in which the slowest median reads well."""
    slowest = max(row.median_s or 0 for row in rows)
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if slowest * factor >= 1:
            return factor, unit
    return 1e6, "µs"


def _number(value: float | None, factor: float = 1.0, digits: int = 4) -> str:
    return "" if value is None else units.significant(value * factor, digits)


def _ends(ends: tuple[float, float] | None, factor: float = 1.0) -> str:
    """Join the ends, in a fourth digit where three would make one of a ratio's ends just 1."""
    if ends is None:
        return ""
    near = any(end != 1 and _number(end, factor, 3) == "1.00" for end in ends)
    return "–".join(_number(end, factor, digits=4 if near else 3) for end in ends)


def _both(measured: Measured | None, factor: float = 1.0) -> tuple[str, str]:
    """Return the cells of a value and of its interval, in three digits."""
    if measured is None:
        return "", ""
    return _number(measured.value, factor, 3), _ends(measured.ci95, factor)


def _ranged(measured: Measured, factor: float = 1.0) -> str:
    value, ends = _both(measured, factor)
    return f"{value} ({ends})" if ends else value


def sheet(record: ProfileRecord) -> Sheet:
    """Return the rows with all that was measured but the samples."""
    header = tuple(itertools.chain.from_iterable(map(_columns, _SHEET)))
    return Sheet(header, tuple(_cells(row) for row in record.results))


def _columns(field: str) -> tuple[str, ...]:
    if field == "ci95_s":
        return "ci95_low_s", "ci95_high_s"
    return (field, f"{field}_low", f"{field}_high") if field in _RANGES else (field,)


def _cells(row: ProfileResult) -> tuple[object, ...]:
    cells: list[object] = []
    for field in _SHEET:
        if field.endswith("_bytes"):
            cells.append(getattr(row.memory, field, None))
        elif field == "ci95_s":
            cells += row.ci95_s or (None, None)
        elif field in _RANGES:
            measured: Measured | None = getattr(row, field)
            cells += [measured and measured.value, *((measured and measured.ci95) or (None, None))]
        else:
            cells.append(getattr(row, field))
    return tuple(cells)
