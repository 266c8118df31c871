"""Published figures beside recomputed ones: one judgement for ``audit`` and for ``count``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from s2mlp_cli.papers.published import Cell, PublishedRow, imagenet_top1, published_for
from s2mlp_cli.papers.verdicts import difference, judge, recomputed
from s2mlp_cli.records.audit import AuditCell, Quantity
from s2mlp_cli.records.count import CountResult
from s2mlp_cli.specs import ModelSpec, built_in, with_input_size

CountFunction = Callable[[ModelSpec], CountResult]

# The count of a built-in spec, at its own size or at a square one.
Counts = Callable[[str, int | None], CountResult]


def audit(
    rows: Iterable[PublishedRow],
    count_function: CountFunction,
    progress: Callable[[str], object] = lambda model: None,
) -> tuple[AuditCell, ...]:
    """Recompute every printed figure of ``rows``; each spec and size is counted once.

    Args:
        rows: what :func:`s2mlp_cli.papers.published_rows` yields.
        count_function: from a spec to its count.
        progress: called with the name of each row's model before it is counted.
    """
    counts = _each_once(count_function)
    cells: list[AuditCell] = []
    for published in rows:
        printed = list(published.row.cells())
        if printed:
            progress(published.row.model)
            result = counts(published.row.model, None)
            cells += [_cell(published, *entry, result, counts) for entry in printed]
    return tuple(cells)


def published_figures(
    spec: ModelSpec, result: CountResult, count_function: CountFunction
) -> tuple[AuditCell, ...]:
    """Return the figures that papers print for a counted spec; none for a changed one.

    A published figure belongs to the built-in spec at its own input size: with an override,
    another size or a user's own file of that name there is nothing to compare with.
    """
    rows = published_for(spec.name)
    if not rows or spec != built_in(spec.name):
        return ()
    counts = _each_once(count_function)
    return tuple(
        _cell(published, quantity, cell, result, counts)
        for published in rows
        for quantity, cell in published.row.cells()
    )


def published_top1(spec: ModelSpec) -> float | None:
    """Return the top-1 on ImageNet-1K in percent that a paper prints; None for a changed spec."""
    rows = published_for(spec.name)
    if not rows or spec != built_in(spec.name):
        return None
    return next((top1 for row in rows if (top1 := imagenet_top1(row)) is not None), None)


def _each_once(count_function: CountFunction) -> Counts:
    @functools.cache
    def counts(model: str, input_size: int | None) -> CountResult:
        spec = built_in(model)
        return count_function(with_input_size(spec, (input_size,) * 2) if input_size else spec)

    return counts


def _cell(
    published: PublishedRow, quantity: Quantity, cell: Cell, result: CountResult, counts: Counts
) -> AuditCell:
    """Judge one printed figure by the count of its model."""
    paper, table, row = published
    computed = recomputed(result, quantity, paper.leaves_out[quantity])
    corrected = None
    if cell.correction is not None:
        other, size = cell.correction.model, cell.correction.input_size
        leaves_out = cell.correction.leaves_out
        corrected = recomputed(
            counts(other or row.model, size) if other or size else result,
            quantity,
            paper.leaves_out[quantity] if leaves_out is None else leaves_out,
            cell.correction.adds,
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
        top1=imagenet_top1(published),
    )
