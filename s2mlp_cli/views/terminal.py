"""Views on the terminal, and the only consoles there are.

Results go to stdout, progress and remarks to stderr. Piped output is plain text; NO_COLOR and
COLUMNS are honoured (rich reads both). 80 columns are enough: a table that is wider goes on below
itself, each block beginning with the names of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as Grid
from rich.text import Text
from rich.theme import Theme

from s2mlp_cli.views.document import Cell, Column, Table, View, readable

THEME = Theme(
    {
        "answer": "bold",
        "good": "green",
        "bad": "bold red",
        "warn": "yellow",
        "quiet": "dim",
        "key": "cyan",
    }
)

# Blanks between two columns, and the widths that names and other texts keep before they fold.
_GAP, _NAME, _TEXT = 2, 32, 14


def results_console() -> Console:
    """Return the console for results: stdout."""
    return _console(stderr=False)


def remarks_console() -> Console:
    """Return the console for progress bars and remarks: stderr."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    # No markup and no emoji: names in brackets and colons are what they are.
    console = Console(theme=THEME, highlight=False, markup=False, emoji=False, stderr=stderr)
    if not console.width:  # COLUMNS=0, as programs set it that do not know: rich prints nothing
        console.width = 80
    return console


def to_text(renderable: object, width: int = 100) -> str:
    """Return what a plain terminal of ``width`` columns would show (for files and tests)."""
    console = Console(
        theme=THEME, highlight=False, width=width, no_color=True, force_terminal=False
    )
    with console.capture() as capture:
        console.print(renderable, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def screen(view: View) -> RenderableType:
    """Return the view for a terminal: the answer first, warnings last."""
    style = "bad" if view.alarm else "answer"
    parts: list[list[RenderableType]] = [
        [_line(line, style) for line in view.answers],
        *_tables(view),
        [_facts(view)] if view.facts else [],
        [
            *(_line(line, "quiet") for line in view.remarks),
            *(_line(f"! {line}", "warn") for line in view.warnings),
        ],
    ]
    first, *others = (part for part in parts if part)
    return Group(*first, *(line for part in others for line in (Text(), *part)))


def _tables(view: View) -> list[list[RenderableType]]:
    return [[_Narrowing(table)] for table in map(_previewed, view.tables) if table.rows]


def _previewed(table: Table) -> Table:
    """Return the rows that a terminal shows, under a caption that says how many there are."""
    if not table.folded:
        return table
    most, whole = table.preview, len(table.rows)
    caption = f"{table.caption} (first {most} of {whole})" if whole > most else table.caption
    return replace(table, caption=caption, rows=table.rows[:most])


def _facts(view: View) -> RenderableType:
    grid = Grid.grid(padding=(0, _GAP))
    grid.add_column(style="key", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in view.facts.items():
        grid.add_row(_plain(name), _line(text, ""))
    return grid


class _Narrowing:
    """A table that takes as many blocks of columns as the width of the terminal asks for.

    rich would cut what does not fit, without a sign: 16.28 G would read 16. Here no cell is cut:
    headings break into two lines, optional columns are left out, names and texts fold, and a block
    of one column that is still too wide makes the line longer.
    """

    def __init__(self, table: Table) -> None:
        self.table = table.condensed()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.table.caption:
            yield _line(self.table.caption, "key")
        if any(column.prose for column in self.table.columns):
            yield from _sentences(self.table)
        else:
            yield from self._blocks(options.max_width)
        if self.table.note:
            yield _line(self.table.note, "quiet")

    def _blocks(self, width: int) -> Iterator[RenderableType]:
        cells = self.table.cells()
        blocks = _fitting(self.table.columns, cells, width)
        for number, (heading, rows) in enumerate(_headed(self.table.columns, cells)):
            if heading:
                yield from [Text()] * bool(number and len(blocks) > 1)
                yield _line(heading, "key")
            for block in blocks:
                yield _grid(block, rows, titles=number == 0 or len(blocks) > 1)


def _headed(
    columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]]
) -> Iterator[tuple[str, list[tuple[Cell, ...]]]]:
    """Yield the rows under each heading: the values of the columns that are headings."""

    def heading(row: tuple[Cell, ...]) -> str:
        named = zip(columns, row, strict=True)
        return ", ".join(c.label(cell) for c, cell in named if c.heading and cell.text)

    for text, group in groupby(rows, heading):
        yield text, list(group)


@dataclass(frozen=True)
class _Place:
    """A column in a block: its number in the table, the lines of its heading, its width.

    ``most`` is the width that is enough for nine of ten of its cells.
    """

    number: int
    column: Column
    title: tuple[str, ...]
    width: int
    most: int

    @property
    def least(self) -> int:
        """The width that it needs: names fold below 32, other texts below 14."""
        if self.column.numeric:
            return self.width
        return min(self.width, _NAME if self.number == 0 else _TEXT)


def _fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int
) -> list[list[_Place]]:
    """Return the columns of each block: the first one, and as many others as fit beside it."""
    whole = _places(columns, rows, _one_line)
    if _needed(whole) <= width:
        return [_stretched(whole, width)]
    short = _places(columns, rows, _two_lines)
    if _needed(short) > width:
        short = [place for place in short if not place.column.optional]
    name, *others = short
    blocks = [[name]]
    for unit in _units(others):
        if len(blocks[-1]) > 1 and _needed([*blocks[-1], *unit]) > width:
            blocks.append([name])
        blocks[-1] += unit
    return [_stretched(block, width) for block in blocks]


def _places(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    heading: Callable[[str], tuple[str, ...]],
) -> list[_Place]:
    found = []
    for number, column in enumerate(columns):
        if not column.heading:
            title = heading(f"{column.title} {column.unit}".strip())
            lines = sorted(cell_len(t) for row in rows for t in row[number].text.splitlines())
            heading_width = max(map(cell_len, title))
            widest = max([heading_width, *lines[-1:]])
            most = max([heading_width, *lines[: 9 * len(lines) // 10 + 1][-1:]])
            found.append(_Place(number, column, title, widest, most))
    return found


def _one_line(title: str) -> tuple[str, ...]:
    return (title,)


def _two_lines(title: str) -> tuple[str, ...]:
    """Break a heading into the two lines that are the narrowest."""
    words = title.split(" ")
    breaks = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    return min(breaks, key=lambda two: max(map(len, two)), default=(title,))


def _units(places: Sequence[_Place]) -> Iterator[list[_Place]]:
    """Yield each column with the one that must stay beside it."""
    unit: list[_Place] = []
    for place in places:
        if unit and not place.column.beside:
            yield unit
            unit = []
        unit.append(place)
    yield unit


def _needed(block: Sequence[_Place]) -> int:
    return sum(place.least + _GAP for place in block) - _GAP


def _stretched(block: Sequence[_Place], width: int) -> list[_Place]:
    """Return the block with its room given to the texts that would fold: to most cells first."""
    widths = {place.number: place.least for place in block}
    room = max(width - _needed(block), 0)
    for wanted in ("most", "width"):
        for place in sorted(block, key=lambda place: getattr(place, wanted) - place.least):
            given = min(room, max(getattr(place, wanted) - widths[place.number], 0))
            widths[place.number] += given
            room -= given
    return [replace(place, width=widths[place.number]) for place in block]


def _grid(block: Sequence[_Place], rows: Sequence[Sequence[Cell]], titles: bool) -> RenderableType:
    high = max(len(place.title) for place in block)
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="quiet")
    grid.show_header = titles
    for place in block:
        grid.add_column(
            "\n" * (high - len(place.title)) + _plain("\n".join(place.title)),
            justify="right" if place.column.numeric else "left",
            width=place.width,
            no_wrap=place.column.numeric,
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*(_styled(row[place.number], place.number == 0) for place in block))
    return _Whole(grid, sum(place.width + _GAP for place in block))


class _Whole:
    """A grid that is as wide as its columns need, even on a terminal that is not."""

    def __init__(self, grid: Grid, width: int) -> None:
        self.grid, self.width = grid, width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.grid.__rich_console__(console, options.update(width=self.width))


def _plain(text: str) -> str:
    """Return text of a record for a terminal: it breaks lines, and paints and moves nothing."""
    return readable(text).replace("\u00a0", " ")


def _line(text: str, style: str) -> Text:
    return Text(_plain(text), style=style)


def _styled(cell: Cell, names: bool) -> Text:
    return _line(cell.text, cell.tone or ("key" if names else ""))


def _sentences(table: Table) -> Iterator[Text]:
    """Yield a line per row of a table that ends in a sentence: ``what, where: why``."""
    for row in table.cells():
        filled = [pair for pair in zip(row, table.columns, strict=True) if pair[0].text]
        named = [cell for cell, column in filled if not column.prose]
        said = [cell for cell, column in filled if column.prose]
        line = Text(", ").join(_styled(cell, n == 0) for n, cell in enumerate(named))
        line.append(": " * bool(named and said))
        yield line.append(Text("; ").join(_styled(cell, names=False) for cell in said))
