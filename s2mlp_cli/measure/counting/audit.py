"""Published figures beside recomputed ones: one judgement for ``audit`` and for ``count``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from s2mlp_cli.measure.counting.closed_form import closed_form
from s2mlp_cli.papers.published import Cell, PublishedRow, imagenet_top1, published_for
from s2mlp_cli.papers.verdicts import Correction, Counted, difference, judge, recomputed
from s2mlp_cli.records.audit import AuditCell, Quantity
from s2mlp_cli.specs import ModelSpec, built_in, with_input_size


def audit(
    rows: Iterable[PublishedRow],
    count: Callable[[str], Counted],
    progress: Callable[[str], object] = lambda model: None,
) -> tuple[AuditCell, ...]:
    """Recompute every printed figure of ``rows``; each spec is counted once.

    Args:
        rows: what :func:`s2mlp_cli.papers.published_rows` yields.
        count: counts a built-in spec by its name.
        progress: called with the name of each row's model before it is counted.
    """
    count = functools.cache(count)
    cells: list[AuditCell] = []
    for published in rows:
        printed = list(published.row.cells())
        if printed:
            progress(published.row.model)
            counted = count(published.row.model)
            cells += [_cell(published, *entry, counted) for entry in printed]
    return tuple(cells)


def published_rows_of(spec: ModelSpec) -> tuple[PublishedRow, ...]:
    """Return the rows that papers print of ``spec``; none of a changed one.

    A published figure belongs to the built-in spec at its own input size: with an override,
    another size or a user's own file of that name there is nothing to compare with.
    """
    rows = published_for(spec.name)
    return rows if rows and spec == built_in(spec.name) else ()


def published_figures(spec: ModelSpec, counted: Counted) -> tuple[AuditCell, ...]:
    """Return the figures that papers print of a counted spec."""
    return tuple(
        _cell(published, quantity, cell, counted)
        for published in published_rows_of(spec)
        for quantity, cell in published.row.cells()
    )


def published_top1(spec: ModelSpec) -> float | None:
    """Return the top-1 on ImageNet-1K in percent that a paper prints; None for a changed spec."""
    printed = map(imagenet_top1, published_rows_of(spec))
    return next((top1 for top1 in printed if top1 is not None), None)


def _cell(published: PublishedRow, quantity: Quantity, cell: Cell, counted: Counted) -> AuditCell:
    """Judge one printed figure by the count of its model."""
    paper, table, row = published
    computed = recomputed(counted, quantity, paper.leaves_out[quantity])
    corrected = _corrected(published, quantity, cell.correction, counted)
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


def _corrected(
    published: PublishedRow, quantity: Quantity, correction: Correction | None, counted: Counted
) -> int | None:
    """Return the figure by another reading; another model or size is counted by its closed form."""
    if correction is None:
        return None
    form: Counted | None = counted
    if correction.model or correction.input_size:
        spec = built_in(correction.model or published.row.model)
        side = correction.input_size
        form = closed_form(with_input_size(spec, (side, side)) if side else spec)
    assert form is not None  # only figures of the papers' own models need another model
    leaves_out = correction.leaves_out
    if leaves_out is None:
        leaves_out = published.paper.leaves_out[quantity]
    return recomputed(form, quantity, leaves_out, correction.transforms)
