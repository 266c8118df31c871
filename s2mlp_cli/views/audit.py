"""``audit``: every published figure beside the recomputed one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, groupby

from s2mlp_cli.records.audit import AGREEMENTS, Agreement, AuditCell, AuditRecord
from s2mlp_cli.units import count
from s2mlp_cli.views.document import (
    Cell,
    Column,
    KeyFigure,
    KnownModel,
    Sheet,
    Table,
    Tone,
    View,
    plural,
)
from s2mlp_cli.views.published import QUANTITIES, TONES, place, reasons

_SHORT: dict[Agreement, str] = {
    "agrees": "agree",
    "agrees in binary units": "agree in binary units",
    "agrees after a correction": "agree after a correction",
    "differs": "differ",
}
_PAPERS = {"v1": "S2-MLP", "v2": "S2-MLPv2", "baselines": "the comparison models"}
_FIELDS = (
    *("paper", "table", "row", "model", "quantity", "printed", "computed", "difference"),
    *("corrected", "verdict", "known", "reason"),
)


def view(record: AuditRecord) -> View:
    """Return the view."""
    papers = dict.fromkeys(cell.paper for cell in record.results)
    return View(
        title="Published figures, recomputed: "
        + (" and ".join(_PAPERS.get(name, name) for name in papers) or "none"),
        answers=(_answer(record),),
        alarm=bool(record.changed),
        key_figures=partial(_key_figures, record),
        tables=(_figures(record), reasons(record.results)),
        warnings=tuple(
            f"{place(cell)}, {cell.row}, {cell.printed}: {cell.verdict}, where '{cell.known}' was "
            "expected"
            for cell in record.changed
        ),
        models=partial(_models, record),
    )


def sheet(record: AuditRecord) -> Sheet:
    """Return one row for each figure."""
    return Sheet(
        _FIELDS, tuple(tuple(getattr(cell, key) for key in _FIELDS) for cell in record.results)
    )


def _key_figures(record: AuditRecord) -> Iterator[KeyFigure]:
    for each, number in record.tally.items():
        yield KeyFigure(each, str(number), f"of {len(record.results)} figures", TONES[each])


def _answer(record: AuditRecord) -> str:
    tally = ", ".join(
        f"{number} {_SHORT[verdict]}" for verdict, number in record.tally.items() if number
    )
    changed = len(record.changed)
    ending = f"{changed} VERDICTS CHANGED" if changed else "every verdict is as expected"
    return f"{plural(len(record.results), 'published figure')}: {tally or 'none'}; {ending}"


def _rows(record: AuditRecord) -> Iterator[dict[str, AuditCell]]:
    """Yield the figures of each row of the papers' tables, by what they are figures of."""
    for _, group in groupby(record.results, lambda cell: (cell.paper, cell.table, cell.row)):
        yield {cell.quantity: cell for cell in group}


def _figures(record: AuditRecord) -> Table:
    """Return a line for each row of the papers' tables, parameters beside MACs."""

    def line(found: dict[str, AuditCell]) -> tuple[object, ...]:
        first = next(iter(found.values()))
        pair = (found.get("params"), found.get("flops"))
        values = ((cell.printed, cell.computed) if cell else (None, None) for cell in pair)
        return (first.row, place(first), *chain(*values), _verdicts(found.values()))

    rows = tuple(map(line, _rows(record)))
    return Table(
        caption="Figures",
        columns=(
            Column("Row"),
            Column("Table", common="{}", heading=True),
            Column("Params", numeric=True),
            Column("computed", count, numeric=True, beside=True),
            Column("MACs", numeric=True),
            Column("computed", count, numeric=True, beside=True),
            Column("Verdict"),
        ),
        rows=rows,
        preview=len(rows),
    )


def _verdicts(cells: Iterable[AuditCell]) -> Cell:
    """Return ``agree`` where both figures of a row do, else the verdict of each that does not."""
    said = [cell for cell in cells if cell.verdict != "agrees" or cell.changed]
    worst = max(said, key=lambda cell: AGREEMENTS.index(cell.verdict), default=None)
    text = "\n".join(f"{QUANTITIES[cell.quantity]} {_SHORT[cell.verdict]}" for cell in said)
    tone: Tone = (
        "bad" if any(cell.changed for cell in said) else TONES[worst.verdict if worst else "agrees"]
    )
    return Cell(text or "agree", text or "agree", tone)


def _models(record: AuditRecord) -> Iterator[KnownModel]:
    """Yield the published accuracies that the record carries, each at its computed cost."""
    for found in _rows(record):
        first = next(iter(found.values()))
        if first.top1 is not None:
            yield KnownModel(
                model=first.model,
                label=first.row,
                top1=first.top1,
                params=found["params"].computed if "params" in found else None,
                macs=found["flops"].computed if "flops" in found else None,
            )
