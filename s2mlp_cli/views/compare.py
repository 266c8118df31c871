"""A comparison on the terminal: what differs in the surroundings first, then row by row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from s2mlp_cli import units
from s2mlp_cli.records.compare import ComparedRow, CompareRecord, OnlyIn, Unit
from s2mlp_cli.views.document import Tone
from s2mlp_cli.views.sheets import Sheet
from s2mlp_cli.views.tables import HouseTable

STYLES: dict[str, Tone] = {
    "faster": "good",
    "better": "good",
    "slower": "bad",
    "worse": "bad",
    "differs": "warn",
    "less": "warn",
    "more": "warn",
    "equal": "quiet",
    "undecided": "quiet",
}


def terminal(record: CompareRecord) -> RenderableType:
    """Return the answer, the differing environments, the rows, and what stands alone."""
    parts: list[RenderableType] = [Text(answer(record), style="answer")]
    if record.environments:
        parts.append(_environments(record))
    if record.results:
        parts.append(_rows(record))
    warnings = (*gate_lines(record), *lone_lines(record), *record.remarks)
    parts += [Text(line, style="warn") for line in warnings]
    parts += [Text(line, style="quiet") for line in notes(record)]
    return Group(*parts)


def sheet(record: CompareRecord) -> Sheet:
    """Return the raw rows."""
    names = source_names(record)
    header = ("row", "quantity", "unit", *names, "speed_ratio", "low", "high", "p_value", "verdict")
    return Sheet(header, tuple(_raw(row) for row in record.results))


def _raw(row: ComparedRow) -> Sequence[object]:
    low, high = (row.ratio.ci95 if row.ratio else None) or (None, None)
    ratio = row.ratio.value if row.ratio else None
    return (
        row.row, row.quantity, row.unit, *row.values, ratio, low, high, row.p_value, row.verdict
    )  # fmt: skip


def answer(record: CompareRecord) -> str:
    """Return the one line that says how the last source stands to the first."""
    if not record.results:
        return "The records have no row in common."
    tally: dict[str, int] = dict.fromkeys(STYLES, 0)
    for row in record.results:
        tally[row.verdict] += 1
    said = ", ".join(f"{count} {verdict}" for verdict, count in tally.items() if count)
    last, first = source_names(record)[-1], source_names(record)[0]
    return f"{last} against {first}: {said}{_gate(record)}"


def _gate(record: CompareRecord) -> str:
    """Return how a gate ended, and how many rows it could not judge or find everywhere."""
    if record.fail_slower is None:
        return ""
    limit = f"{100 * record.fail_slower:g} %"
    failures = [f"{len(record.too_slow)} slower by more than {limit}"] if record.too_slow else []
    gone = len(record.no_longer_timed)
    failures += [f"{gone} no longer timed"] if gone else []
    ending = f"passed: no row is slower by more than {limit} (95 % confidence)"
    gaps = [f"{len(record.unjudged)} without an interval"] if record.unjudged else []
    gaps += [f"{len(record.lone)} not in every record"] if record.lone else []
    return "; ".join(["", f"FAILED: {', '.join(failures)}" if failures else ending, *gaps])


def gate_lines(record: CompareRecord) -> list[str]:
    """Return the rows by name that are no longer timed, and what a gate failed on or skipped."""
    gone = [
        f"no longer timed: {row.row}: {row.quantity}: {row.reason}"
        for row in record.no_longer_timed
    ]
    if record.fail_slower is None:
        return gone
    found = {"too slow": record.too_slow, "skipped, no confidence interval": record.unjudged}
    return gone + [
        f"{what}: {row.row}: {row.quantity}" for what, rows in found.items() for row in rows
    ]


def source_names(record: CompareRecord) -> list[str]:
    """Return a short name per source: the file's, numbered where two have the same."""
    names = [PurePath(source.path).stem for source in record.sources]
    return [
        name if names.count(name) == 1 else f"{name} #{number}"
        for number, name in enumerate(names, 1)
    ]


def lone_lines(record: CompareRecord) -> list[str]:
    """Return a sentence per row that some source lacks."""
    return [_lone(row, source_names(record)) for row in record.lone]


def _lone(row: OnlyIn, names: Sequence[str]) -> str:
    present = [name for name, there in zip(names, row.present, strict=True) if there]
    return f"only in {', '.join(present)}: {row.row}"


def notes(record: CompareRecord) -> list[str]:
    """Return how the verdicts are to be read."""
    times = [row for row in record.results if row.ratio]
    relative = sorted({row.relative_to for row in times if row.relative_to})
    said = []
    if times:
        said.append("Speed is the first time over the last: over 1 is faster.")
    if relative:
        said.append(
            f"It is relative to {' or '.join(relative)} in the same rounds, so that what the "
            "machine did between the runs cancels out."
        )
    if any(row.relative_to is None for row in times):
        said.append(
            "Times without such a reference are judged as if the machine's speed wandered between "
            "the runs by 10 % (a GPU's by 3 %)."
        )
    if any(row.widened for row in times):
        count = sum(row.widened for row in times)
        said.append(
            f"Intervals of {count} of {len(times)} times are widened: under 20 samples, or samples "
            "that follow each other."
        )
    if record.compared == "validate":
        said.append(_scores_note(any(row.p_value is not None for row in record.results)))
    if any(row.ratio and row.ratio.ci95 is None for row in times):
        said.append("Under six samples a time has no interval: measure longer.")
    return said


def _scores_note(tested: bool) -> str:
    if tested:
        return (
            "Top-1 is judged image by image, by McNemar's test; top-5 as if each side had images "
            "of its own."
        )
    return (
        "The scores are judged as if each side had images of its own; McNemar's test, which tells "
        "smaller differences apart, needs the files of `s2mlp validate --predictions`."
    )


def shown(value: float | int | str | None, unit: Unit) -> str:
    """Return a value with its unit; counts are written out to the last digit."""
    if value is None or isinstance(value, str):
        return value or ""
    written = {
        "s": units.seconds,
        "B": units.size,
        "1": "{:,}".format,
        "share": lambda part: f"{100 * part:.2f} %",
    }
    return written[unit](value)


def change(row: ComparedRow) -> str:
    """Return how far the last value is from the first."""
    if row.ratio:
        interval = row.ratio.ci95
        bounds = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        return f"{row.ratio.value:.3f}×{bounds}"
    known = [value for value in row.values if value is not None]
    first, last = known[0], known[-1]
    if isinstance(first, str) or isinstance(last, str):
        return ""
    if first == last and row.p_value is None:  # a test says something of equal scores too
        return ""
    if row.unit == "share":
        test = "" if row.p_value is None else f" (p = {row.p_value:.2g})"
        return f"{100 * (last - first):+.2f} points{test}"
    if row.unit == "1":
        return f"{last - first:+,}"
    part = f" ({100 * (last / first - 1):+.1f} %)" if first else ""
    return f"{'-' if last < first else '+'}{units.size(abs(last - first))}{part}"


def sparkline(values: Sequence[float | int | str | None]) -> str:
    """Return one block per value, its height between the least and the largest; ``·`` for none."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    low, high = min(numbers, default=0), max(numbers, default=0)
    blocks = "▁▂▃▄▅▆▇█"

    def block(value: float | int | str | None) -> str:
        if not isinstance(value, (int, float)):
            return "·"
        return blocks[round((value - low) / (high - low) * 7)] if high > low else blocks[3]

    return "".join(map(block, values))


def _environments(record: CompareRecord) -> RenderableType:
    table = HouseTable(box=None, padding=(0, 2, 0, 2), header_style="bold")
    table.add_column("", style="key")
    for name in source_names(record):
        table.add_column(name, overflow="fold")
    for each in record.environments:
        table.add_row(each.what, *(Text(value or "none") for value in each.values))
    return Group(Text("Measured under different conditions:", style="warn"), table, Text())


def _rows(record: CompareRecord) -> RenderableType:
    """Return a block of lines per row; the columns of all the blocks stand in one line."""
    lines = [_line(record, row) for row in record.results]
    columns = zip(_header(record), *lines, strict=True)
    widths = [max(cell.cell_len for cell in column) for column in columns]
    parts: list[RenderableType] = [_grid(widths, [_header(record)], "bold")]
    for name, group in groupby(zip(record.results, lines, strict=True), lambda each: each[0].row):
        parts += [Text(name, style="key"), _grid(widths, [line for _, line in group])]
    return Group(*parts)


def _header(record: CompareRecord) -> list[Text]:
    names = source_names(record)
    trend = ["trend"] if len(names) > 2 else []
    return [Text(title) for title in ("", names[0], names[-1], *trend, "change", "verdict")]


def _line(record: CompareRecord, row: ComparedRow) -> list[Text]:
    trend = [Text(sparkline(row.values))] if len(record.sources) > 2 else []
    return [
        Text(f"  {row.quantity}"),
        Text(shown(row.values[0], row.unit)),
        Text(shown(row.values[-1], row.unit)),
        *trend,
        Text(change(row)),
        Text(row.verdict, style=STYLES[row.verdict]),
    ]


def _grid(widths: Sequence[int], lines: Sequence[Sequence[Text]], style: str = "") -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    last = len(widths) - 1
    for place, width in enumerate(widths):
        side: Literal["left", "right"] = "left" if place in (0, last) else "right"
        least = width if place else None  # a narrow terminal folds the names, never the numbers
        table.add_column(min_width=least, justify=side, style=style, overflow="fold")
    for name, *cells in lines:
        table.add_row(name.plain.ljust(widths[0]), *cells)
    return table
