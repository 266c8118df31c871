"""Rows of several records matched by name, and what may be said about each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from s2mlp_cli.comparing.quantities import Quantity
from s2mlp_cli.records.compare import ComparedRow, LoneRow, Ratio, Verdict

Key = tuple[str, str]


def compare(
    series: Sequence[Sequence[Quantity]],
) -> tuple[tuple[ComparedRow, ...], tuple[LoneRow, ...]]:
    """Return the rows that two sources or more have, and those that some source lacks.

    Args:
        series: the quantities of each source, in the order in which they are to be read; the last
            source that has a row is judged against the first that has it.
    """
    tables = [{(each.row, each.name): each for each in source} for source in series]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    found = [(key, [table.get(key) for table in tables]) for key in keys]
    rows = tuple(_row(key, cells) for key, cells in found if _present(cells) > 1)
    return rows, _lone(found)


def _lone(found: Sequence[tuple[Key, list[Quantity | None]]]) -> tuple[LoneRow, ...]:
    """Return what some source lacks: a whole row by its name, else the one quantity of it."""
    rows: dict[str, list[bool]] = {}
    for (row, _), cells in found:
        seen = rows.setdefault(row, [False] * len(cells))
        rows[row] = [old or cell is not None for old, cell in zip(seen, cells, strict=True)]
    lone = {row: tuple(seen) for row, seen in rows.items() if not all(seen)}
    for (row, name), cells in found:
        present = tuple(cell is not None for cell in cells)
        if not all(present) and present != lone.get(row):
            lone[f"{row}: {name}"] = present
    return tuple(LoneRow(row=row, present=present) for row, present in lone.items())


def _present(cells: Sequence[Quantity | None]) -> int:
    return sum(cell is not None for cell in cells)


def _row(key: Key, cells: Sequence[Quantity | None]) -> ComparedRow:
    known = [cell for cell in cells if cell is not None]
    first, last = known[0], known[-1]
    ratio = speed_ratio(first, last)
    return ComparedRow(
        row=key[0],
        quantity=key[1],
        unit=first.unit,
        values=tuple(cell.value if cell else None for cell in cells),
        intervals=tuple(cell.interval if cell else None for cell in cells),
        ratio=ratio,
        verdict=_speed_verdict(ratio) if ratio else _exact_verdict(first, last),
    )


def speed_ratio(first: Quantity, last: Quantity) -> Ratio | None:
    """Return how many times faster ``last`` is: the ratio of two independent medians.

    The interval combines those of both medians on the logarithmic scale, each side with the
    deviations that move the ratio to it (MOVER; Donner and Zou 2012). It covers the noise inside
    the two runs; what changes between runs (another neighbour on the machine, other clocks) is
    in neither.
    """
    if first.unit != "s" or isinstance(first.value, str) or isinstance(last.value, str):
        return None
    value = first.value / last.value
    if first.interval is None or last.interval is None:
        return Ratio(value=value)
    below = math.hypot(
        math.log(first.value / first.interval[0]), math.log(last.interval[1] / last.value)
    )
    above = math.hypot(
        math.log(first.interval[1] / first.value), math.log(last.value / last.interval[0])
    )
    return Ratio(value=value, ci95=(value * math.exp(-below), value * math.exp(above)))


def _speed_verdict(ratio: Ratio) -> Verdict:
    if ratio.ci95 is None or ratio.ci95[0] <= 1 <= ratio.ci95[1]:
        return "undecided"
    return "faster" if ratio.ci95[0] > 1 else "slower"


def _exact_verdict(first: Quantity, last: Quantity) -> Verdict:
    if first.value == last.value:
        return "equal"
    if isinstance(first.value, str) or isinstance(last.value, str):
        return "differs"
    return "more" if last.value > first.value else "less"
