"""What a report consists of, before anybody decides whether it becomes HTML or Markdown.

A record of any kind becomes one :class:`Section`: the answer in one line, key figures, pictures
and tables of raw values. The writers (:mod:`~s2mlp_cli.views.html`,
:mod:`~s2mlp_cli.views.markdown`) know nothing of kinds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Tone = Literal["good", "bad", "warn", "quiet"]


@dataclass(frozen=True)
class Cell:
    """One value, raw and as it is written."""

    value: object
    text: str
    tone: Tone | None = None
    part: float | None = None


EMPTY = Cell(None, "")

# Decimals that small values may add to a column.
MOST_DECIMALS = 3


@dataclass(frozen=True)
class Column:
    """One column of text, or of whatever ``show`` writes.

    Attributes:
        title: the heading, without the unit.
        show: how a raw value is written; None is always an empty cell.
        unit: stands in the heading, so that cells hold bare numbers.
        numeric: aligned to the right and sorted as numbers.
        tones: how a cell with this text is to be understood (a verdict is good, bad …).
        prose: sentences, which may break into lines; all else stays on one.
    """

    title: str
    show: Callable[[Any], str] = str
    unit: str = ""
    numeric: bool = False
    tones: Mapping[str, Tone] = field(default_factory=dict)
    prose: bool = False

    def cells(self, values: Sequence[Any]) -> list[Cell]:
        """Return the column's values written out; None is an empty cell, a cell stays as it is."""
        return [self._written(value) for value in values]

    def _written(self, value: Any) -> Cell:
        if isinstance(value, Cell):
            return value
        return EMPTY if value is None else self.cell(value, self.show(value))

    def cell(self, value: Any, text: str, part: float | None = None) -> Cell:
        """Return the cell of a value that is written as ``text``."""
        return Cell(value, text, self.tones.get(text), part)


@dataclass(frozen=True)
class Number(Column):
    """A column of quantities in one unit, all with the same number of decimals.

    They are as many as the largest value needs for ``digits`` significant digits, or the smallest
    for three, but no more than :data:`MOST_DECIMALS` for its sake. A column of plain integers has
    none.

    Attributes:
        scale: what one ``unit`` is in raw units: 1e6 for values shown in millions.
        digits: significant digits of the largest value.
        bar: a cell carries a bar as long as its part of the largest value.
    """

    numeric: bool = True
    scale: float = 1.0
    digits: int = 4
    bar: bool = False

    def cells(self, values: Sequence[Any]) -> list[Cell]:
        """Return the values with equal decimals, so that their points stand in one line."""
        sizes = [abs(value) for value in values if value]
        largest = max(sizes, default=0)
        counts = self.scale == 1 and all(isinstance(size, int) for size in sizes)
        places = 0 if counts else self._places(largest, min(sizes, default=0))
        whole = largest if self.bar else None
        return [
            EMPTY
            if value is None
            else self.cell(
                value, _fixed(value / self.scale, places), max(value, 0) / whole if whole else None
            )
            for value in values
        ]

    def _places(self, largest: float, smallest: float) -> int:
        return max(
            _decimals(largest / self.scale, self.digits),
            min(_decimals(smallest / self.scale, 3), MOST_DECIMALS),
        )


@dataclass(frozen=True)
class Table:
    """Rows of raw values (or of cells) under columns; the first column names the row."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""
    folded: bool = False

    def cells(self) -> list[tuple[Cell, ...]]:
        """Return every row with its values written out."""
        columns = [
            column.cells([row[place] for row in self.rows])
            for place, column in enumerate(self.columns)
        ]
        return list(zip(*columns, strict=True))


@dataclass(frozen=True)
class Picture:
    """A drawing that is made only when a writer asks for it.

    Attributes:
        name: a short file name without its ending.
        title: the heading above it.
        description: what a reader sees who cannot see it.
        draw: returns the SVG document.
    """

    name: str
    title: str
    description: str
    draw: Callable[[], str]


@dataclass(frozen=True)
class Figure:
    """A key figure: what it is, its value, and a remark under it."""

    title: str
    value: str
    remark: str = ""
    tone: Tone | None = None


@dataclass(frozen=True)
class Section:
    """One record's part of a report."""

    title: str
    answer: str
    figures: tuple[Figure, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


# Names that a title lists; of more it says how many.
MOST_NAMES = 3


def listed(names: Iterable[str], what: str) -> str:
    """Return ``a, b``, each name once, or ``5 models`` where they are too many for a title."""
    unique = list(dict.fromkeys(names))
    if 0 < len(unique) <= MOST_NAMES:
        return ", ".join(unique)
    return f"{len(unique) or 'no'} {what}"


def _decimals(largest: float, digits: int) -> int:
    """Return how many decimals give ``largest`` this many significant digits."""
    if not largest or math.isinf(largest) or math.isnan(largest):
        return 0
    return max(digits - 1 - math.floor(math.log10(largest)), 0)


def _fixed(value: float, places: int) -> str:
    """Return the value with that many decimals; what is not zero never reads as zero."""
    if value == 0:
        return "0"
    least = 10.0**-places
    return f"<{least:.{places}f}" if 0 < value < least / 2 else f"{value:.{places}f}"
