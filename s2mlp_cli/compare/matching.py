"""Rows of several records matched by name, and what may be said about each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from s2mlp_cli.compare.judging import judge
from s2mlp_cli.compare.quantities import Quantity
from s2mlp_cli.records.compare import ComparedRow, LoneRow

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
    keys = _row_by_row(key for table in tables for key in table)
    found = [(key, [table.get(key) for table in tables]) for key in keys]
    rows = tuple(_row(key, cells) for key, cells in found if _present(cells) > 1)
    return rows, _lone(found)


def _row_by_row(keys: Iterable[Key]) -> list[Key]:
    """Return each key once, those of one row together, rows in the order of their first."""
    rows: dict[str, dict[Key, None]] = {}
    for key in keys:
        rows.setdefault(key[0], {})[key] = None
    return [key for row in rows.values() for key in row]


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
    ratio, verdict = judge(known[0], known[-1])
    return ComparedRow(
        row=key[0],
        quantity=key[1],
        unit=known[0].unit,
        values=tuple(cell.value if cell else None for cell in cells),
        intervals=tuple(cell.interval if cell else None for cell in cells),
        ratio=ratio,
        verdict=verdict,
    )
