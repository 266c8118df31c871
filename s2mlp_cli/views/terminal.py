"""Views on the terminal, and the only consoles there are.

Results go to stdout, progress and remarks to stderr. Piped output is plain text; NO_COLOR and
COLUMNS are honoured (rich reads both). 80 columns are enough: a table that is wider goes on below
itself, each block beginning with the names of its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as Grid
from rich.text import Text
from rich.theme import Theme

from s2mlp_cli.views.document import Cell, Column, Table, View

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

# Blanks between two columns, and the width from which on a name may fold.
_GAP, _NAME = 2, 32


def results_console() -> Console:
    """Return the console for results: stdout."""
    return _console(stderr=False)


def remarks_console() -> Console:
    """Return the console for progress bars and remarks: stderr."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(theme=THEME, highlight=False, stderr=stderr)
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
    parts = [
        [Text(line, style=style) for line in view.answers],
        *([_Narrowing(table)] for table in map(_previewed, view.tables) if table.rows),
        [_facts(view)] if view.facts else [],
        [
            *(Text(line, style="quiet") for line in view.remarks),
            *(Text(f"! {line}", style="warn") for line in view.warnings),
        ],
    ]
    shown = [part for part in parts if part]
    return Group(*(line for n, part in enumerate(shown) for line in ([Text()] * (n > 0) + part)))


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
        grid.add_row(name, text)
    return grid


class _Narrowing:
    """A table that takes as many blocks of columns as the width of the terminal asks for.

    rich would cut what does not fit, without a sign: 16.28 G would read 16. No cell is cut here: a
    block that has only one column beside the names, and is still too wide, makes the line longer.
    """

    def __init__(self, table: Table) -> None:
        self.table = table.condensed()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.table.caption:
            yield Text(self.table.caption, style="key")
        if any(column.prose for column in self.table.columns):
            yield from _sentences(self.table)
        else:
            yield from self._blocks(options.max_width)
        if self.table.note:
            yield Text(self.table.note, style="quiet")

    def _blocks(self, width: int) -> Iterator[RenderableType]:
        columns = self.table.columns
        inner = [place for place, column in enumerate(columns) if not column.heading]
        cells = self.table.cells()
        widths = {place: _width(columns[place], [row[place] for row in cells]) for place in inner}
        for rows in _headed(columns, cells):
            if rows.heading:
                yield Text(rows.heading, style="key")
            for block in _fitting(inner, columns, widths, width):
                yield _grid(block, columns, widths, rows.cells, width)


class _Rows:
    """Rows under one heading."""

    def __init__(self, heading: str, cells: Sequence[Sequence[Cell]]) -> None:
        self.heading, self.cells = heading, cells


def _headed(columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]]) -> Iterator[_Rows]:
    def heading(row: tuple[Cell, ...]) -> str:
        named = zip(columns, row, strict=True)
        return ", ".join(c.label(cell) for c, cell in named if c.heading and cell.text)

    for text, group in groupby(rows, heading):
        yield _Rows(text, list(group))


def _width(column: Column, cells: Sequence[Cell]) -> int:
    lines = [_title(column), *(line for cell in cells for line in cell.text.splitlines())]
    return max(map(cell_len, lines))


def _title(column: Column) -> str:
    return f"{column.title} {column.unit}".strip()


def _fitting(
    inner: Sequence[int], columns: Sequence[Column], widths: dict[int, int], width: int
) -> Iterator[list[int]]:
    """Yield the columns of each block: the first one, and as many others as fit beside it."""
    name, *others = inner
    named = min(widths[name], _NAME)
    block, used = [name], named
    for place in others:
        pair = [place]
        if columns[place].beside:
            continue
        if place + 1 in widths and columns[place + 1].beside:
            pair.append(place + 1)
        needed = sum(widths[each] + _GAP for each in pair)
        if len(block) > 1 and used + needed > width:
            yield block
            block, used = [name], named
        block += pair
        used += needed
    yield block


def _grid(
    block: Sequence[int],
    columns: Sequence[Column],
    widths: dict[int, int],
    rows: Sequence[Sequence[Cell]],
    width: int,
) -> RenderableType:
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="quiet")
    room = width - sum(widths[place] + _GAP for place in block[1:])
    for place in block:
        least = widths[place] if place != block[0] else min(widths[place], max(room, 12))
        grid.add_column(
            _title(columns[place]),
            justify="right" if columns[place].numeric else "left",
            min_width=least,
            max_width=least,
            no_wrap=place != block[0],
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*(_styled(row[place], place == block[0]) for place in block))
    return _Whole(grid)


class _Whole:
    """A grid that is as wide as its columns need, even on a terminal that is not."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = sum((column.min_width or 0) + _GAP for column in self.grid.columns)
        yield from self.grid.__rich_console__(console, options.update(width=needed))


def _styled(cell: Cell, names: bool) -> Text:
    return Text(cell.text, style=cell.tone or ("key" if names else ""))


def _sentences(table: Table) -> Iterator[Text]:
    """Yield a line per row of a table that ends in a sentence: ``what, where: why``."""
    for row in table.cells():
        named = [
            cell
            for cell, column in zip(row, table.columns, strict=True)
            if cell.text and not column.prose
        ]
        said = [
            cell.text
            for cell, column in zip(row, table.columns, strict=True)
            if cell.text and column.prose
        ]
        line = Text(", ").join(_styled(cell, n == 0) for n, cell in enumerate(named))
        yield line.append(": " * bool(named and said)).append("; ".join(said))
