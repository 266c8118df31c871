"""``audit``: recompute what the papers print, and say how the two stand to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from s2mlp_cli.measure.counting.count import count
from s2mlp_cli.papers.published import Cell, PublishedRow, published_for
from s2mlp_cli.papers.verdicts import Correction, difference, figure, judge
from s2mlp_cli.records.audit import AuditCell, Quantity
from s2mlp_cli.records.count import CountResult, PublishedFigure
from s2mlp_cli.specs import ModelSpec, load_spec, with_input_size

CountFunction = Callable[[ModelSpec], CountResult]

# What a cell of the audit and a figure beside a count have in common.
_SHARED = set(PublishedFigure.model_fields)


class Counts:
    """Counts specs by name and size, each once."""

    def __init__(self, count_function: CountFunction) -> None:
        self._count = count_function
        self._known: dict[tuple[str, int | None], CountResult] = {}

    def of(self, model: str, input_size: int | None = None) -> CountResult:
        """Return the count of a built-in spec, at its own size or at a square one."""
        key = (model, input_size)
        if key not in self._known:
            spec = load_spec(model)
            if input_size:
                spec = with_input_size(spec, (input_size, input_size))
            self._known[key] = self._count(spec)
        return self._known[key]


def audit(
    rows: Iterable[PublishedRow],
    count_function: CountFunction = count,
    progress: Callable[[str], object] = lambda model: None,
) -> tuple[AuditCell, ...]:
    """Recompute every printed figure of ``rows``.

    Args:
        rows: what :func:`s2mlp_cli.papers.published_rows` yields.
        count_function: from a spec to its count.
        progress: called with the name of each row's model before it is counted.
    """
    counts = Counts(count_function)
    cells: list[AuditCell] = []
    for published in rows:
        printed = list(published.row.cells())
        if printed:
            progress(published.row.model)
            result = counts.of(published.row.model)
            cells += [audit_cell(published, *entry, result, counts) for entry in printed]
    return tuple(cells)


def audit_cell(
    published: PublishedRow, quantity: Quantity, cell: Cell, result: CountResult, counts: Counts
) -> AuditCell:
    """Judge one printed figure by the count of its model."""
    paper, table, row = published
    computed = figure(result, quantity, paper.leaves_out[quantity])
    corrected = (
        _corrected(published, quantity, cell.correction, result, counts)
        if cell.correction
        else None
    )
    return AuditCell(
        paper=paper.name,
        table=table,
        row=row.row,
        model=row.model,
        quantity=quantity,
        printed=cell.printed,
        computed=computed,
        difference=difference(computed, cell.printed),
        corrected=corrected,
        verdict=judge(
            cell.printed,
            computed,
            binary_units=paper.binary_units,
            correction=cell.correction,
            corrected=corrected,
        ),
        known=cell.verdict,
        reason=cell.reason,
    )


def _corrected(
    published: PublishedRow,
    quantity: Quantity,
    correction: Correction,
    result: CountResult,
    counts: Counts,
) -> int:
    if correction.model or correction.input_size:
        result = counts.of(correction.model or published.row.model, correction.input_size)
    leaves_out = correction.leaves_out
    if leaves_out is None:
        leaves_out = published.paper.leaves_out[quantity]
    return figure(result, quantity, leaves_out, correction.adds)


def published_figures(result: CountResult) -> tuple[PublishedFigure, ...]:
    """Return the figures that papers print for a counted model; none for a changed one.

    A published figure belongs to the built-in spec at its own input size: with an override,
    another size or a user's own file of that name there is nothing to compare with.
    """
    rows = published_for(result.model)
    if not rows or result.spec != load_spec(result.model).model_dump(mode="json"):
        return ()
    counts = Counts(count)
    cells = [
        audit_cell(published, quantity, cell, result, counts)
        for published in rows
        for quantity, cell in published.row.cells()
    ]
    return tuple(PublishedFigure(**cell.model_dump(include=_SHARED)) for cell in cells)
