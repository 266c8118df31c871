"""``compare``: what differs in the surroundings first, then row by row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import PurePath

from s2mlp_cli import units
from s2mlp_cli.records.compare import ComparedRow, CompareRecord, Unit
from s2mlp_cli.views.document import (
    Cell,
    Column,
    Picture,
    Sheet,
    Table,
    Tone,
    View,
    listed,
    measured,
)
from s2mlp_cli.views.svg import lines

_TONES: dict[str, Tone] = {
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

# Rows in the picture of a trend.
_MOST_LINES = 6


def view(record: CompareRecord) -> View:
    """Return the view."""
    names = source_names(record)
    return View(
        title=f"Comparison of {record.compared} records: " + listed(names, "records"),
        answers=(_answer(record),),
        alarm=record.failed,
        pictures=partial(_trend, record),
        tables=tuple(_tables(record)),
        warnings=(*_gate_lines(record), *record.remarks),
        remarks=tuple(_notes(record)),
    )


def source_names(record: CompareRecord) -> list[str]:
    """Return a short name per source: the file's, numbered where two have the same."""
    names = [PurePath(source.path).stem for source in record.sources]
    return [
        name if names.count(name) == 1 else f"{name} #{number}"
        for number, name in enumerate(names, 1)
    ]


def _answer(record: CompareRecord) -> str:
    """Say how the last source compares with the first, and how a gate ended."""
    if not record.results:
        return "The records have no row in common."
    tally: dict[str, int] = dict.fromkeys(_TONES, 0)
    for row in record.results:
        tally[row.verdict] += 1
    said = ", ".join(f"{count} {verdict}" for verdict, count in tally.items() if count)
    names = source_names(record)
    return f"{names[-1]} against {names[0]}: {said}{_top1(record)}{_gate(record)}"


def _top1(record: CompareRecord) -> str:
    """Say how the accuracy changed, where one model is compared."""
    rows = [row for row in record.results if row.quantity == "top-1"]
    if len(rows) != 1:
        return ""
    before, *_, after = (shown(value, rows[0].unit) for value in rows[0].values)
    return f"; top-1 {after}" if before == after else f"; top-1 {after} instead of {before}"


def _gate(record: CompareRecord) -> str:
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


def _gate_lines(record: CompareRecord) -> Iterator[str]:
    """Yield the rows that are no longer timed, and what a gate failed on or skipped."""
    for gone in record.no_longer_timed:
        yield f"no longer timed: {gone.row}: {gone.quantity}: {gone.reason}"
    if record.fail_slower is not None:
        for row in record.too_slow:
            yield f"too slow: {row.row}: {row.quantity}"
        for row in record.unjudged:
            yield f"skipped, no confidence interval: {row.row}: {row.quantity}"


def _tables(record: CompareRecord) -> Iterator[Table]:
    names = source_names(record)
    yield Table(
        caption="Measured under different conditions",
        columns=(Column("What"), *map(Column, names)),
        rows=tuple(
            (each.what, *(value or "none" for value in each.values)) for each in record.environments
        ),
    )
    series = len(names) > 2
    yield Table(
        caption="",
        columns=(
            Column("Quantity"),
            Column("Row", common="{}", heading=True),
            *(
                Column(name, numeric=True, optional=0 < number < len(names) - 1)
                for number, name in enumerate(names)
            ),
            *([Column("Trend")] if series else []),
            Column("Change", numeric=True),
            Column("Verdict", tones=_TONES),
        ),
        rows=tuple(
            (
                row.quantity,
                row.row,
                *(Cell(value, shown(value, row.unit)) for value in row.values),
                *([sparkline(row.values)] if series else []),
                change(row),
                row.verdict,
            )
            for row in record.results
        ),
    )
    yield Table(
        caption="",
        columns=(Column("Only in", common="{}", heading=True), Column("Row", prose=True)),
        rows=tuple(
            (f"Only in {', '.join(itertools.compress(names, only.present))}", only.row)
            for only in sorted(record.lone, key=lambda only: only.present, reverse=True)
        ),
    )


def _notes(record: CompareRecord) -> Iterator[str]:
    """Yield how the verdicts are to be read."""
    times = [row for row in record.results if row.ratio]
    relative = sorted({row.relative_to for row in times if row.relative_to})
    if times:
        yield "The change of a time is the ratio of the speeds: over 1 is faster."
    if relative:
        yield (
            f"It is relative to {' or '.join(relative)} in the same rounds, so that what the "
            "machine did between the runs cancels out."
        )
    if any(row.relative_to is None for row in times):
        yield (
            "Times without such a baseline are judged as if the machine's speed wandered between "
            "the runs by 10 % (a GPU's by 3 %)."
        )
    if any(row.widened for row in times):
        yield (
            f"The intervals of {sum(row.widened for row in times)} of {len(times)} times are "
            "widened: under 20 samples, or samples that follow each other."
        )
    if "validate" in record.compared.split(", "):
        if any(row.p_value is not None for row in record.results):
            yield (
                "Top-1 is judged image by image with McNemar's test; top-5 as if each side had "
                "images of its own."
            )
        else:
            yield (
                "The scores are judged as if each side had images of its own. McNemar's test "
                "detects smaller differences; it needs files of `s2mlp validate --predictions`."
            )
    if any(row.ratio and row.ratio.ci95 is None for row in times):
        yield "Under six samples a time has no interval: measure longer."


def shown(value: float | int | str | None, unit: Unit) -> str:
    """Return a value with its unit; counts are written out to the last digit."""
    if value is None or isinstance(value, str):
        return value or ""
    written: dict[str, Callable[[float], str]] = {
        "s": units.seconds,
        "B": units.size,
        "1": _number,
        "share": lambda fraction: f"{100 * fraction:.2f} %",
    }
    return written[unit](value)


def _number(value: float) -> str:
    """Return a count to the last digit, and a small error to two."""
    return f"{value:.2g}" if isinstance(value, float) and value < 1 else f"{value:,}"


def change(row: ComparedRow) -> str:
    """Return how far the last value is from the first."""
    if row.ratio:
        ratio, interval = measured(row.ratio.value, row.ratio.ci95, digits=3)
        return f"{ratio.text}× ({interval.text})" if interval.text else f"{ratio.text}×"
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
        return f"{'-' if last < first else '+'}{_number(abs(last - first))}"
    percent = f" ({100 * (last / first - 1):+.1f} %)" if first else ""
    return f"{'-' if last < first else '+'}{units.size(abs(last - first))}{percent}"


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


def _trend(record: CompareRecord) -> Iterator[Picture]:
    """Yield the picture of a series: the rows that moved most."""
    series = [(row, _numbers(row)) for row in record.results if _moved(row)]
    if len(record.sources) > 2 and series:
        largest = sorted(series, key=lambda each: -_moved(each[0]))[:_MOST_LINES]
        drawn = {f"{row.row}: {row.quantity}": values for row, values in largest}
        yield Picture(
            name="trend",
            description=f"Lines of the change in percent of {len(drawn)} rows over "
            f"{len(record.sources)} records.",
            drawing=lines.trend(source_names(record), drawn, title="What changed most"),
        )


def _numbers(row: ComparedRow) -> list[float | None]:
    return [None if isinstance(value, str) else value for value in row.values]


def _moved(row: ComparedRow) -> float:
    """Return how far the values are apart, as a fraction of the largest."""
    known = [value for value in _numbers(row) if value is not None]
    return (max(known) - min(known)) / max(known) if known and max(known) > 0 else 0.0


def sheet(record: CompareRecord) -> Sheet:
    """Return one row for each quantity that two sources have."""
    names = source_names(record)
    header = ("row", "quantity", "unit", *names, "speed_ratio", "low", "high", "p_value", "verdict")
    return Sheet(header, tuple(_raw(row) for row in record.results))


def _raw(row: ComparedRow) -> Sequence[object]:
    low, high = (row.ratio.ci95 if row.ratio else None) or (None, None)
    ratio = row.ratio.value if row.ratio else None
    return (
        row.row, row.quantity, row.unit, *row.values, ratio, low, high, row.p_value, row.verdict
    )  # fmt: skip
