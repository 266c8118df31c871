"""What is shown of a record: one :class:`View`, which four writers turn into text.

Every kind of record has a module with two functions: ``view`` reads a record and returns the
answer in a sentence, key figures, tables of raw values, pictures, warnings and remarks, and
``sheet`` returns its raw values. The writers (:mod:`~s2mlp_cli.views.terminal`,
:mod:`~s2mlp_cli.views.sheet`, :mod:`~s2mlp_cli.views.markdown`, :mod:`~s2mlp_cli.views.html`,
:mod:`~s2mlp_cli.views.latex`) know no kinds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from s2mlp_cli.errors import visible
from s2mlp_cli.units import decimals

if TYPE_CHECKING:
    from s2mlp_cli.views.svg.canvas import Drawing

Tone = Literal["good", "bad", "warn", "quiet"]


@dataclass(frozen=True)
class Cell:
    """One value, raw and as it is written; ``fraction`` is the length of a bar behind it."""

    value: object
    text: str
    tone: Tone | None = None
    fraction: float | None = None


EMPTY = Cell(None, "")

# Decimals that small values may add to a column.
MOST_DECIMALS = 3


@dataclass(frozen=True)
class Column:
    """One column of text, or of whatever ``show`` writes.

    Attributes:
        title: the heading, without the unit.
        show: writes a raw value; None is always an empty cell.
        unit: goes into the heading, so that cells hold bare numbers.
        numeric: aligned to the right and sorted as numbers.
        tones: what a cell with this text means (a verdict is good, bad …).
        prose: sentences, which may break into lines; all other cells stay on one line.
        common: where all rows have the same value, it goes into the caption, in this format.
        heading: the value is written above the rows that share it.
        optional: left out where a terminal is too narrow for the whole table.
        beside: belongs to the column before it (its interval) and is never parted from it.
    """

    title: str
    show: Callable[[Any], str] = str
    unit: str = ""
    numeric: bool = False
    tones: Mapping[str, Tone] = field(default_factory=dict)
    prose: bool = False
    common: str = ""
    heading: bool = False
    optional: bool = False
    beside: bool = False

    def cells(self, values: Sequence[Any]) -> list[Cell]:
        """Return the values written out; None is an empty cell, a cell stays as it is."""

        def written(value: Any) -> Cell:
            text = self.show(value)
            return Cell(value, text, self.tones.get(text))

        return [
            value if isinstance(value, Cell) else EMPTY if value is None else written(value)
            for value in values
        ]

    @property
    def heading_text(self) -> str:
        """The title with its unit: ``Median (ms)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Number(Column):
    """A column of quantities in one unit, all with the same number of decimals.

    They are as many as the largest value needs for ``digits`` significant digits, or the smallest
    for three, but no more than :data:`MOST_DECIMALS` for its sake. A column of plain integers has
    none.

    Attributes:
        scale: what one ``unit`` is in raw units: 1e6 for values shown in millions.
        digits: significant digits of the largest value.
        bar: a bar behind each cell shows its fraction of the largest value.
    """

    numeric: bool = True
    scale: float = 1.0
    digits: int = 4
    bar: bool = False

    def cells(self, values: Sequence[Any]) -> list[Cell]:
        """Return the values with equal decimals, so that their points are aligned."""
        raw: list[Any] = [value.value if isinstance(value, Cell) else value for value in values]
        sizes = [abs(value) for value in raw if value]
        largest = max(sizes, default=0)
        counts = self.scale == 1 and all(isinstance(size, int) for size in sizes)
        places = 0 if counts else self._places(largest, min(sizes, default=0))

        def written(value: float) -> Cell:
            fraction = max(value, 0) / largest if self.bar and largest else None
            return Cell(value, _fixed(value / self.scale, places), fraction=fraction)

        return [EMPTY if value is None else written(value) for value in raw]

    def _places(self, largest: float, smallest: float) -> int:
        return max(
            decimals(largest / self.scale, self.digits),
            min(decimals(smallest / self.scale, 3), MOST_DECIMALS),
        )


def percentage(title: str, places: int = 1) -> Column:
    """Return a column of fractions, written as percentages."""
    return Column(title, lambda fraction: f"{100 * fraction:.{places}f}", "%", numeric=True)


def measured(
    value: float | None,
    ends: tuple[float, float] | None,
    factor: float = 1.0,
    digits: int = 4,
    bar: float | None = None,
) -> tuple[Cell, Cell]:
    """Return the cells of a value and of its interval, both with the same decimals.

    They get more decimals where an end of an interval around 1 would read as exactly 1.
    """
    if value is None:
        return EMPTY, EMPTY
    places = decimals(value * factor, digits)
    if ends and any(end != 1 and round(end * factor, places) == 1 for end in ends):
        places += 1
    shown = Cell(value, f"{value * factor:.{places}f}", fraction=bar)
    if ends is None:
        return shown, EMPTY
    return shown, Cell(ends[0], "–".join(f"{end * factor:.{places}f}" for end in ends))


def with_interval(value: float, ends: tuple[float, float] | None, factor: float = 1.0) -> str:
    """Return ``1.12 (1.05–1.20)``, or the bare value without an interval."""
    number, interval = measured(value, ends, factor, digits=3)
    return f"{number.text} ({interval.text})" if interval.text else number.text


@dataclass(frozen=True)
class Table:
    """Rows of raw values (or of cells) under columns; the first column names the row.

    Attributes:
        note: a sentence under the table.
        preview: how many rows a terminal shows of a table that documents fold.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""
    preview: int | None = None

    def cells(self) -> list[tuple[Cell, ...]]:
        """Return every row with its values written out."""
        columns = [
            column.cells([row[place] for row in self.rows])
            for place, column in enumerate(self.columns)
        ]
        return list(zip(*columns, strict=True))

    def printed(self) -> Printed:
        """Return the table, which has rows, without empty columns.

        What all rows share is in the caption, and what rows below each other share in a heading.
        """
        rows, numbers = self.cells(), range(len(self.columns))
        texts = [{row[number].text for row in rows} for number in numbers]
        shared = [n for n in numbers if self.columns[n].common and len(texts[n]) == 1]
        headings = [n for n in numbers if self.columns[n].heading and n not in shared]
        kept = [n for n in numbers if n not in (*shared, *headings) and texts[n] != {""}]

        def words(row: Sequence[Cell], of: Sequence[int]) -> str:
            named = ((self.columns[n].common or "{}", row[n].text) for n in of)
            return ", ".join(form.format(text) for form, text in named if text)

        return Printed(
            caption=": ".join(filter(None, [self.caption, words(rows[0], shared)])),
            columns=tuple(self.columns[n] for n in kept),
            groups=tuple(
                (heading, tuple(tuple(row[n] for n in kept) for row in group))
                for heading, group in groupby(rows, lambda row: words(row, headings))
            ),
            note=self.note,
            folded=self.preview is not None,
        )


@dataclass(frozen=True)
class Printed:
    """A table as writers print it: groups of rows, each under its heading if it has one."""

    caption: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
    note: str
    folded: bool

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The rows of all groups."""
        return [row for _, rows in self.groups for row in rows]

    def split(self, width: int) -> Iterator[Printed]:
        """Yield tables of at most ``width`` letters, each with the first column."""
        widths = {n: self._width(column, n) for n, column in enumerate(self.columns)}
        blocks = self.blocks(widths, width)
        for block in blocks:
            yield replace(
                self,
                caption=f"{self.caption} (continued)" if block is not blocks[0] else self.caption,
                columns=tuple(self.columns[n] for n in block),
                groups=tuple(
                    (heading, tuple(tuple(row[n] for n in block) for row in rows))
                    for heading, rows in self.groups
                ),
                note=self.note if block is blocks[-1] else "",
            )

    def _width(self, column: Column, number: int) -> int:
        if column.prose:
            return _PROSE
        lines = [line for row in self.rows for line in row[number].text.split("\n")]
        return 2 + max(len(column.title + column.unit) + 2, *map(len, lines))

    def blocks(self, widths: Mapping[int, int], width: int) -> list[list[int]]:
        """Return the numbers of the columns that fit beside each other.

        Each block begins with the first column, and parts no column from those that must be beside
        it; one that has nothing else may be wider.

        Args:
            widths: by the number of the column; others are left out.
            width: of each block.
        """
        first, *others = widths
        units: list[list[int]] = []
        for number in others:
            if units and self.columns[number].beside:
                units[-1].append(number)
            else:
                units.append([number])
        blocks, room = [[first]], width - widths[first]
        for unit in units:
            needed = sum(widths[number] for number in unit)
            if needed > room and blocks[-1] != [first]:
                blocks.append([first])
                room = width - widths[first]
            blocks[-1] += unit
            room -= needed
        return blocks


# Letters that a sentence needs at least.
_PROSE = 40


@dataclass(frozen=True)
class Picture:
    """A drawing under a short file name, and in words for a reader who cannot see it."""

    name: str
    description: str
    drawing: Drawing


@dataclass(frozen=True)
class KeyFigure:
    """One number of a record's answer: what it is, its value, and a remark under it."""

    title: str
    value: str
    remark: str = ""
    tone: Tone | None = None


@dataclass(frozen=True)
class Sheet:
    """The raw values of a record as CSV has them: one header, rows of the same length."""

    header: tuple[str, ...]
    rows: tuple[Sequence[object], ...]


@dataclass(frozen=True)
class KnownModel:
    """What one record knows of one model: any of its accuracy, cost and speed.

    Attributes:
        top1: in percent; ``measured`` says whether here, or printed by a paper.
        macs: multiply-adds of one image.
    """

    model: str
    label: str
    top1: float | None = None
    measured: bool = False
    macs: float | None = None
    params: float | None = None
    images_per_s: float | None = None
    setting: str = ""


@dataclass(frozen=True)
class View:
    """What is shown of one record.

    Attributes:
        answers: the sentences that answer, the most important first.
        alarm: whether the answer is bad news.
        warnings: what makes the numbers less trustworthy.
        remarks: how to read them.
        facts: what was measured, name -> text.

    Only documents have the rest; what takes time to make is made when one asks for it:
        key_figures: numbers of the answer.
        details: secondary tables, folded.
        models: what goes into the comparison of all models of a report.
        where: when and on what it was measured, in short.
        environment: all of where and how it was measured.
    """

    title: str
    answers: tuple[str, ...]
    alarm: bool = False
    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    key_figures: Callable[[], Iterable[KeyFigure]] = tuple
    pictures: Callable[[], Iterable[Picture]] = tuple
    details: Callable[[], Iterable[Table]] = tuple
    models: Callable[[], Iterable[KnownModel]] = tuple
    where: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def parts(self, width: int, details: bool = True) -> Iterator[Printed]:
        """Yield the tables as a document shows them, in parts of at most ``width`` letters."""
        more = (replace(table, preview=0) for table in self.details()) if details else ()
        for table in (*self.tables, *more):
            if table.rows:
                yield from table.printed().split(width)


# Names that a title lists; of more it says how many.
MOST_NAMES = 3


def listed(names: Iterable[str], what: str) -> str:
    """Return ``a, b``, each name once, or ``5 models`` where they are too many for a title."""
    unique = list(dict.fromkeys(names))
    if 0 < len(unique) <= MOST_NAMES:
        return ", ".join(unique)
    return f"{len(unique) or 'no'} {what}"


def plural(number: int, noun: str) -> str:
    """Return ``1 model``, ``2 models``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def readable(text: str) -> str:
    """Return text of a record that paints nothing and moves nothing; our own breaks stay."""
    if text.isprintable():
        return text
    return "".join(part if part in "\n\u00a0" else visible(part) for part in _BREAKS.split(text))


# A line break, and the blank that neither breaks nor collapses.
_BREAKS = re.compile("(\n|\u00a0)")


def _fixed(value: float, places: int) -> str:
    """Return the value with that many decimals; what is not zero never reads as zero."""
    if value == 0:
        return "0"
    least = 10.0**-places
    return f"<{least:.{places}f}" if 0 < value < least / 2 else f"{value:.{places}f}"
