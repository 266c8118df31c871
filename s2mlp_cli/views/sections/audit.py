"""The section of an audit: every published figure beside the recomputed one."""

from __future__ import annotations

from s2mlp_cli import units
from s2mlp_cli.records.audit import VERDICTS, AuditCell, AuditRecord
from s2mlp_cli.records.count import PublishedFigure
from s2mlp_cli.views.document import Column, Figure, Section, Table, Tone
from s2mlp_cli.views.sections.answer import answer
from s2mlp_cli.views.sections.environment import facts

TONES: dict[str, Tone] = {
    "agrees": "good",
    "agrees in binary units": "good",
    "agrees after a correction": "warn",
    "differs": "bad",
}
_PAPERS = {"v1": "S2-MLP", "v2": "S2-MLPv2", "baselines": "the systems they are compared with"}
QUANTITIES = {"params": "parameters", "flops": "MACs"}


def section(record: AuditRecord) -> Section:
    """Return the section."""
    tally = record.tally
    return Section(
        title=f"Published figures, recomputed: {_papers(record)}",
        answer=answer(record),
        figures=tuple(
            Figure(verdict, str(tally[verdict]), f"of {len(record.results)} cells", TONES[verdict])
            for verdict in VERDICTS
        ),
        tables=(_reasons(record), _cells(record)),
        remarks=tuple(
            f"Changed: {cell.paper} table {cell.table}, {cell.row}, {cell.quantity}: "
            f"'{cell.verdict}' where '{cell.known}' is known."
            for cell in record.changed
        ),
        facts=facts(record),
    )


def _papers(record: AuditRecord) -> str:
    names = dict.fromkeys(cell.paper for cell in record.results)
    return " and ".join(_PAPERS.get(name, name) for name in names) or "none"


def _cells(record: AuditRecord) -> Table:
    return Table(
        caption="Cells",
        columns=(
            Column("Row"),
            Column("Where"),
            Column("Model"),
            Column("Quantity"),
            Column("Printed", numeric=True),
            Column("Computed", units.count, numeric=True),
            Column("Corrected", units.count, numeric=True),
            Column("Verdict", tones=TONES),
        ),
        rows=tuple(
            (
                cell.row,
                place(cell),
                cell.model,
                QUANTITIES[cell.quantity],
                cell.printed,
                cell.computed,
                cell.corrected,
                cell.verdict,
            )
            for cell in record.results
        ),
    )


def _reasons(record: AuditRecord) -> Table:
    return Table(
        caption="Why a cell does not plainly agree",
        columns=(
            Column("Row"),
            Column("Where"),
            Column("Quantity"),
            Column("Verdict", tones=TONES),
            Column("Reason", prose=True),
        ),
        rows=tuple(
            (cell.row, place(cell), QUANTITIES[cell.quantity], cell.verdict, cell.reason)
            for cell in record.results
            if cell.reason
        ),
    )


def place(cell: AuditCell | PublishedFigure) -> str:
    """Return the paper and its table; the systems compared with are one table of both papers."""
    return cell.paper if cell.paper == cell.table else f"{cell.paper} table {cell.table}"
