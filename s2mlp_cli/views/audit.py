"""How the record of ``audit`` looks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.console import Group, RenderableType
from rich.text import Text

from s2mlp_cli.records.audit import AuditCell, AuditRecord, Verdict
from s2mlp_cli.units import count
from s2mlp_cli.views.sheets import Sheet
from s2mlp_cli.views.tables import house_table

_SHORT: dict[Verdict, str] = {
    "agrees": "agree",
    "agrees in binary units": "in binary units",
    "agrees after a correction": "after a correction",
    "differs": "differ",
}
_QUANTITIES = {"params": "parameters", "flops": "FLOPs"}
_STYLES: dict[Verdict, str] = {
    "agrees": "good",
    "agrees in binary units": "good",
    "agrees after a correction": "warn",
    "differs": "bad",
}
_COLUMNS = (
    *("paper", "table", "row", "model", "quantity", "printed", "computed", "difference"),
    *("corrected", "verdict", "known", "reason"),
)


def terminal(record: AuditRecord) -> RenderableType:
    """Return the answer, a line per row of the papers' tables, and the reasons."""
    return Group(_answer(record), _rows(record.results), *_reasons(record.results))


def sheet(record: AuditRecord) -> Sheet:
    """Return one row per published figure, raw."""
    rows = tuple(tuple(getattr(cell, key) for key in _COLUMNS) for cell in record.results)
    return Sheet(_COLUMNS, rows)


def _answer(record: AuditRecord) -> Text:
    tally = ", ".join(
        f"{number} {_SHORT[verdict]}" for verdict, number in record.tally.items() if number
    )
    changed = len(record.changed)
    ending = f"{changed} VERDICTS CHANGED" if changed else "every verdict is the known one"
    return Text(
        f"{len(record.results)} published figures: {tally}; {ending}",
        style="bad" if changed else "answer",
    )


def _rows(cells: Iterable[AuditCell]) -> RenderableType:
    table = house_table("table", "row", ">params", ">here", ">FLOPs", ">here", "verdict")
    table.columns[1].no_wrap = True
    for (paper, number, row), group in groupby(cells, lambda c: (c.paper, c.table, c.row)):
        figures = {cell.quantity: cell for cell in group}
        printed = [
            text for quantity in ("params", "flops") for text in _figure(figures.get(quantity))
        ]
        table.add_row(
            _where(paper, number), Text(row, style="key"), *printed, _verdicts(figures.values())
        )
    return table


def _where(paper: str, table: str, between: str = " ") -> str:
    return paper if paper == table else f"{paper}{between}{table}"


def _figure(cell: AuditCell | None) -> tuple[str, str]:
    return (cell.printed, count(cell.computed)) if cell else ("", "")


def _verdicts(cells: Iterable[AuditCell]) -> Text:
    """Return what is to be said of a row: nothing but ``agrees`` where both figures do."""
    parts = [
        Text(
            f"{_QUANTITIES[cell.quantity]} {_SHORT[cell.verdict]}",
            style="bad" if cell.changed else _STYLES[cell.verdict],
        )
        for cell in cells
        if cell.verdict != "agrees" or cell.changed
    ]
    return Text("\n").join(parts) if parts else Text("agree", style=_STYLES["agrees"])


def _reasons(cells: Iterable[AuditCell]) -> Iterable[Text]:
    for cell in cells:
        where = f"{_where(cell.paper, cell.table, ' table ')}, {cell.row}, {cell.printed}: "
        if cell.changed:
            yield Text(f"{where}{cell.verdict}, but known as: {cell.known}", style="bad")
        elif cell.reason:
            yield Text(where, style="quiet").append(cell.reason)
