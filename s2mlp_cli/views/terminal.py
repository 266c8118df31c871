"""Views on the terminal, and the only consoles there are.

Results go to stdout, progress and remarks to stderr. Piped output is plain text; NO_COLOR and
COLUMNS are honoured (rich reads both). 80 columns are enough: a table that is wider goes on below
itself, each block beginning with the names of its rows. rich would cut what does not fit, without a
sign: 16.28 G would read 16. Here no cell is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text
from rich.theme import Theme

from s2mlp_cli.views.document import Cell, Column, Printed, Table, View, readable

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


@contextmanager
def status(words: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr what is going on; yields what changes the words. A log gets nothing."""
    console = remarks_console()
    console.quiet = not console.file.isatty()  # rich writes its codes under FORCE_COLOR
    with console.status(words) as shown:
        yield shown.update


def _console(*, stderr: bool) -> Console:
    # No markup and no emoji: names in brackets and colons are what they are.
    console = Console(theme=THEME, highlight=False, markup=False, emoji=False, stderr=stderr)
    if not console.width:  # COLUMNS=0, as programs set it that do not know: rich prints nothing
        console.width = 80
    return console


def to_text(views: Sequence[View], width: int = 100) -> str:
    """Return what a plain terminal of ``width`` columns shows of the views."""
    console = Console(
        theme=THEME, highlight=False, width=width, no_color=True, force_terminal=False
    )
    with console.capture() as capture:
        console.print(screen(views, width), crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def screen(views: Sequence[View], width: int) -> Group:
    """Return the views for a terminal of ``width`` columns, with a blank line between parts."""
    parts = [part for view in views for part in _parts(view, width) if part]
    first, *others = parts
    return Group(*first, *(line for part in others for line in (Text(), *part)))


def _parts(view: View, width: int) -> Iterator[list[RenderableType]]:
    """Yield what a terminal shows: the answer first, warnings last."""
    yield [_line(line, "bad" if view.alarm else "answer") for line in view.answers]
    for table in view.tables:
        shown = table if table.preview is None else _previewed(table, table.preview)
        yield list(_table(shown.printed(), width)) if shown.rows else []
    yield [_facts(view.facts)] if view.facts else []
    yield [
        *(_line(line, "quiet") for line in view.remarks),
        *(_line(f"! {line}", "warn") for line in view.warnings),
    ]


def _previewed(table: Table, most: int) -> Table:
    """Return the first rows, under a caption that says how many there are."""
    whole = len(table.rows)
    caption = f"{table.caption} (first {most} of {whole})" if whole > most else table.caption
    return replace(table, caption=caption, rows=table.rows[:most])


def _facts(facts: Mapping[str, str]) -> RenderableType:
    grid = Grid.grid(padding=(0, _GAP))
    grid.add_column(style="key", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in facts.items():
        grid.add_row(_plain(name), _line(text))
    return grid


def _table(table: Printed, width: int) -> Iterator[RenderableType]:
    """Yield a table under its caption; one that ends in a sentence has a line for each row."""
    if table.caption:
        yield _line(table.caption, "key")
    prose = any(column.prose for column in table.columns)
    whole = [] if prose else _blocks(table, table.rows, width)
    apart = len(whole) > 1
    for number, (heading, rows) in enumerate(table.groups):
        if heading:
            yield from [Text()] * bool(number and apart)
            yield _line(heading, "key")
        if prose:
            yield from map(partial(_sentence, table.columns), rows)
        for block in _blocks(table, rows, width) if apart else whole:
            yield _grid(block, rows, titles=number == 0 or apart)
    if table.note:
        yield _line(table.note, "quiet")


def _sentence(columns: Sequence[Column], row: Sequence[Cell]) -> Text:
    """Return a row as ``what, where: why``."""
    named = [cell for cell, column in zip(row, columns, strict=True) if not column.prose]
    said = [cell for cell, column in zip(row, columns, strict=True) if column.prose]
    start, end = (
        Text(separator).join(_styled(cell, cell is row[0]) for cell in cells if cell.text)
        for separator, cells in ((", ", named), ("; ", said))
    )
    return Text(": ").join(part for part in (start, end) if part)


@dataclass(frozen=True)
class _Place:
    """A column: its number in the table, the lines of its title, the width it needs and wants."""

    number: int
    column: Column
    title: tuple[str, ...]
    least: int
    width: int


def _blocks(table: Printed, rows: Sequence[Sequence[Cell]], width: int) -> list[list[_Place]]:
    """Return the columns of each block; those that are empty in all of the rows are left out.

    In the order in which room is lacking: titles break into two lines, optional columns are left
    out, names and texts fold, and the table goes on in another block.
    """
    places = _places(table, rows, lambda title: (title,))
    if _needed(places) > width:
        places = _places(table, rows, _two_lines)
    if sum(place.width + _GAP for place in places) - _GAP > width:
        places = [place for place in places if not place.column.optional]
    blocks = table.blocks({place.number: place.least + _GAP for place in places}, width + _GAP)
    return [_stretched([p for p in places if p.number in block], width) for block in blocks]


def _places(
    table: Printed, rows: Sequence[Sequence[Cell]], lines: Callable[[str], tuple[str, ...]]
) -> list[_Place]:
    found = []
    for number, column in enumerate(table.columns):
        title = lines(f"{column.title} {column.unit}".strip())
        texts = [line for row in rows for line in _plain(row[number].text).split("\n")]
        if number and not any(texts):
            continue
        widest = max(map(cell_len, (*title, *texts)))
        least = widest if column.numeric else min(widest, _TEXT if number else _NAME)
        found.append(_Place(number, column, title, least, widest))
    return found


def _two_lines(title: str) -> tuple[str, ...]:
    """Break a title at the blank that makes the two lines the narrowest."""
    blanks = [place for place, letter in enumerate(title) if letter == " "]
    if not blanks:
        return (title,)
    middle = min(blanks, key=lambda place: max(place, len(title) - place - 1))
    return title[:middle], title[middle + 1 :]


def _needed(block: Sequence[_Place]) -> int:
    return sum(place.least + _GAP for place in block) - _GAP


def _stretched(block: Sequence[_Place], width: int) -> list[_Place]:
    """Return the block with its room given to the texts that would fold, the shortest first."""
    room, widths = max(width - _needed(block), 0), {}
    for place in sorted(block, key=lambda place: place.width - place.least):
        given = min(room, place.width - place.least)
        widths[place.number] = place.least + given
        room -= given
    return [replace(place, width=widths[place.number]) for place in block]


def _grid(block: Sequence[_Place], rows: Sequence[Sequence[Cell]], titles: bool) -> Grid:
    high = max(len(place.title) for place in block)
    grid = Grid(
        box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="quiet", show_header=titles,
        width=sum(place.width + _GAP for place in block) - _GAP,
    )  # fmt: skip
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
    return grid


def _plain(text: str) -> str:
    """Return text of a record for a terminal: it breaks lines, and paints and moves nothing."""
    return readable(text).replace("\u00a0", " ")


def _line(text: str, style: str = "") -> Text:
    return Text(_plain(text), style=style)


def _styled(cell: Cell, name: bool) -> Text:
    return _line(cell.text, cell.tone or ("key" if name else ""))
