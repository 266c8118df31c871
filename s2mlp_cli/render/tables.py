"""The one look of all tables: quiet rules, headers with units, numbers to the right."""

from __future__ import annotations

from rich import box
from rich.table import Table


def house_table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table.

    A column whose name starts with ``>`` holds numbers, one that starts with ``=`` holds names:
    neither is ever broken over lines.
    """
    table = Table(
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
