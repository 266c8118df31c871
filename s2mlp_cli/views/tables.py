"""The one look of all tables: quiet rules, headers with units, numbers to the right and whole."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text


class HouseTable(Table):
    """A table that becomes wider than a narrow terminal rather than cut a number or a name.

    rich crops what does not fit, without a sign: 16.28 G would read 16. A terminal breaks a line
    that is too long, which is ugly and right.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render at the width of the console, or at the least that keeps every cell whole."""
        for column in self.columns:
            column.min_width = min(_least_width(column), 40)
        least = self.__rich_measure__(console, options.update(width=10_000)).minimum
        yield from super().__rich_console__(
            console, options.update(width=max(options.max_width, least))
        )


class DenseTable(Table):
    """A table that is laid out for 80 columns at least: on fewer, rich would cut its numbers."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render at the width of the console, or at 80 columns."""
        yield from super().__rich_console__(
            console, options.update(width=max(options.max_width, 80))
        )


def _least_width(column: Column) -> int:
    """Return the width below which a cell of the column would be cut."""
    texts = [_plain(cell) for cell in (column.header, *column.cells)]
    return max((cell_len(part) for text in texts for part in _unbroken(text, column)), default=1)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def _unbroken(text: str, column: Column) -> Iterable[str]:
    return text.splitlines() if column.no_wrap else (word[:20] for word in text.split())


def house_table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table.

    A column whose name starts with ``>`` holds numbers, one that starts with ``=`` holds names:
    neither is ever broken over lines.
    """
    table = HouseTable(
        box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", header_style="bold"
    )
    for column in columns:
        table.add_column(
            column.lstrip(">="),
            justify="right" if column.startswith(">") else "left",
            no_wrap=column.startswith((">", "=")),
            overflow="fold",
        )
    return table


def dense_table(*headers: str) -> Table:
    """Return an empty table of names and many numbers: no rules; a long name folds, no number."""
    table = DenseTable(box=None, padding=(0, 1), pad_edge=False, header_style="quiet")
    first, *numbers = headers
    table.add_column(first, overflow="fold")
    for header in numbers:
        table.add_column(header, justify="right", no_wrap=True)
    return table
