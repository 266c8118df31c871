"""Figures that papers print, beside what was counted: shared by ``count`` and ``audit``."""

from __future__ import annotations

from collections.abc import Iterable

from s2mlp_cli.records.audit import AuditCell
from s2mlp_cli.records.count import CountResult
from s2mlp_cli.units import count
from s2mlp_cli.views.document import Column, Table, Tone

TONES: dict[str, Tone] = {
    "agrees": "good",
    "agrees in binary units": "good",
    "agrees after a correction": "warn",
    "differs": "bad",
}
QUANTITIES = {"params": "parameters", "flops": "MACs"}


def place(cell: AuditCell) -> str:
    """Return the paper and its table; the comparison models are one table of both papers."""
    return cell.paper if cell.paper == cell.table else f"{cell.paper} table {cell.table}"


def _where(cell: AuditCell) -> str:
    return f"{place(cell)}, {cell.row}"


def printed_of(result: CountResult) -> dict[str, AuditCell]:
    """Return the first figure that a paper prints of each quantity, parameters first."""
    first = {cell.quantity: cell for cell in reversed(result.published)}
    return {quantity: first[quantity] for quantity in QUANTITIES if quantity in first}


def published_table(results: Iterable[CountResult]) -> Table:
    """Return every figure that papers print of the models."""
    return Table(
        caption="Published figures",
        columns=(
            Column("Model", common="{}"),
            Column("Where"),
            Column("Quantity"),
            Column("Printed", numeric=True),
            Column("As the paper counts", count, numeric=True),
            Column("Verdict", tones=TONES),
        ),
        rows=tuple(
            (
                result.model,
                _where(figure),
                QUANTITIES[figure.quantity],
                figure.printed,
                figure.computed,
                figure.verdict,
            )
            for result in results
            for figure in result.published
        ),
    )


def reasons(figures: Iterable[AuditCell]) -> Table:
    """Return why a figure does not simply agree; one that several tables print has one row."""
    unique: dict[tuple[str, ...], AuditCell] = {}
    for figure in figures:
        if figure.reason:
            unique.setdefault((figure.model, figure.printed, figure.reason), figure)
    return Table(
        caption="Why a figure does not simply agree",
        columns=(
            Column("Where"),
            Column("Printed"),
            Column("Verdict", tones=TONES),
            Column("Reason", prose=True),
        ),
        rows=tuple(
            (_where(figure), figure.printed, figure.verdict, figure.reason)
            for figure in unique.values()
        ),
    )
