"""The one look of all tables: quiet rules, headers with units, numbers to the right."""

from __future__ import annotations

from rich import box
from rich.table import Table


def house_table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column whose name starts with ``>`` holds numbers."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", header_style="bold"
    )
    for column in columns:
        numeric = column.startswith(">")
        table.add_column(
            column.removeprefix(">"),
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
        )
    return table
