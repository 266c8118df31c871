"""The section of a count record: what each model costs, where, and what the papers print."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial

from s2mlp_cli import units
from s2mlp_cli.records.count import CountRecord, CountResult, PublishedFigure
from s2mlp_cli.views.document import Column, Figure, Number, Picture, Section, Table, listed
from s2mlp_cli.views.pictures import modules
from s2mlp_cli.views.sections.answer import answer
from s2mlp_cli.views.sections.audit import QUANTITIES, place
from s2mlp_cli.views.sections.audit import TONES as VERDICTS
from s2mlp_cli.views.sections.environment import facts

# Bars in a picture of one model.
MOST_PARTS = 14

# A part with less than this of the parameters and of the multiply-adds has no bar of its own.
LEAST = 0.005


def section(record: CountRecord) -> Section:
    """Return the section."""
    return Section(
        title=_title(record),
        answer=answer(record),
        figures=_figures(record.results[0]) if len(record.results) == 1 else (),
        pictures=tuple(_picture(result) for result in record.results),
        tables=tuple(_tables(record)),
        remarks=("One multiply-accumulate (MAC) is one multiply-add and counts as 1.",),
        facts=facts(record),
    )


def _title(record: CountRecord) -> str:
    names = listed((result.title or result.model for result in record.results), "models")
    return f"Parameters and multiply-adds: {names}"


def _figures(result: CountResult) -> tuple[Figure, ...]:
    agree = result.crosscheck.agree
    return (
        Figure("Parameters", units.count(result.params), "with the classifier"),
        Figure("MACs", units.count(result.macs_matmul), "linear layers, convolutions, products"),
        Figure("Activations", units.count(result.activations), "values written"),
        Figure(
            "Counters",
            "agree" if agree else "differ",
            "fvcore, closed form, FlopCounterMode",
            "good" if agree else "bad",
        ),
    )


def _tables(record: CountRecord) -> list[Table]:
    tables = [_totals(record)]
    published = [(result.model, figure) for result in record.results for figure in result.published]
    if published:
        tables.append(_published(published))
    for result in record.results:
        tables += [_operators(result), _modules(result)]
        if result.uncounted:
            tables.append(_uncounted(result))
    if record.refused:
        tables.append(_refused(record))
    return tables


def _totals(record: CountRecord) -> Table:
    return Table(
        caption="Totals",
        columns=(
            Column("Model"),
            Column("Input"),
            Column("Shift"),
            Number("Parameters", unit="M", scale=1e6),
            Number("without head", unit="M", scale=1e6),
            Number("MACs", unit="G", scale=1e9),
            Number("as executed", unit="G", scale=1e9),
            Number("Activations", unit="M", scale=1e6),
        ),
        rows=tuple(
            (
                result.model,
                "×".join(map(str, (result.batch_size, *result.input_size))),
                result.shift,
                result.params,
                result.params_without_head,
                result.macs_matmul,
                result.macs,
                result.activations,
            )
            for result in record.results
        ),
    )


def _published(rows: list[tuple[str, PublishedFigure]]) -> Table:
    return Table(
        caption="Published figures",
        columns=(
            Column("Model"),
            Column("Where"),
            Column("Quantity"),
            Column("Printed"),
            Column("Computed", units.count, numeric=True),
            Column("Verdict", tones=VERDICTS),
            Column("Reason", prose=True),
        ),
        rows=tuple(
            (
                model,
                f"{place(figure)}, {figure.row}",
                QUANTITIES[figure.quantity],
                figure.printed,
                figure.computed,
                figure.verdict,
                figure.reason or None,
            )
            for model, figure in rows
        ),
    )


def _operators(result: CountResult) -> Table:
    return Table(
        caption=f"{result.model}: operators",
        columns=(
            Column("Operator"),
            Column("Calls", numeric=True),
            Number("MACs", unit="G", scale=1e9, bar=True),
            Number("Element-wise", unit="M", scale=1e6),
            Number("Activations", unit="M", scale=1e6),
        ),
        rows=tuple(
            (each.operator, each.calls, each.macs, each.elementwise, each.activations)
            for each in result.by_operator
        ),
    )


def _modules(result: CountResult) -> Table:
    return Table(
        caption=f"{result.model}: modules",
        columns=(
            Column("Module"),
            Column("Kind"),
            Number("Parameters", unit="M", scale=1e6, bar=True),
            Number("MACs", unit="G", scale=1e9, bar=True),
            Number("Activations", unit="M", scale=1e6),
        ),
        rows=tuple(
            (each.module or "(model)", each.kind, each.params, each.macs, each.activations)
            for each in result.by_module
        ),
        folded=True,
    )


def _refused(record: CountRecord) -> Table:
    return Table(
        caption="Not built",
        columns=(Column("Model"), Column("Input"), Column("Why", prose=True)),
        rows=tuple(
            (each.model, "×".join(map(str, each.input_size)), each.reason)
            for each in record.refused
        ),
    )


def _uncounted(result: CountResult) -> Table:
    return Table(
        caption=f"{result.model}: not counted",
        columns=(Column("Operator"), Column("Calls", numeric=True), Column("Reason", prose=True)),
        rows=tuple((each.operator, each.calls, each.reason) for each in result.uncounted),
    )


def _picture(result: CountResult) -> Picture:
    shares = parts(result)
    largest = max(shares, key=lambda part: part[2], default=("nothing", 0, 0))
    return Picture(
        name=f"modules-{result.model}-{'x'.join(map(str, result.input_size))}",
        title=f"Where {result.title} spends",
        description=(
            f"Bars of the percentage of parameters and of multiply-adds in each part of "
            f"{result.title}; most multiply-adds are in {largest[0]}."
        ),
        draw=partial(modules.svg, shares),
    )


def parts(result: CountResult) -> list[tuple[str, int, int]]:
    """Return (part, parameters, MACs) that add up to the model, in the order of the model.

    The blocks of a stage are added up (``stages.0.mixer`` is all mixers of stage 0); parts under
    :data:`LEAST` of both, and those over :data:`MOST_PARTS`, become ``others``.
    """
    sums: dict[str, list[int]] = {}
    for module, params, macs in _own(result):
        entry = sums.setdefault(_part(module), [0, 0])
        entry[0] += params
        entry[1] += macs
    rows = [(name, params, macs) for name, (params, macs) in sums.items()]

    def weight(row: tuple[str, int, int]) -> float:
        return max(row[1] / (result.params or 1), row[2] / (result.macs or 1))

    large = [row for row in sorted(rows, key=weight, reverse=True) if weight(row) >= LEAST]
    kept = [row for row in rows if row in large[:MOST_PARTS]]
    rest = [row for row in rows if row not in kept]
    others = ("others", sum(row[1] for row in rest), sum(row[2] for row in rest))
    return [*kept, others] if any(others[1:]) else kept


def _own(result: CountResult) -> list[tuple[str, int, int]]:
    """Return what each module has beyond its children: these add up to the model."""
    own = {each.module: [each.params, each.macs] for each in result.by_module}
    for each in result.by_module:
        parent = _parent(each.module, own)
        if parent is not None:
            own[parent][0] -= each.params
            own[parent][1] -= each.macs
    return [(module, params, macs) for module, (params, macs) in own.items()]


def _parent(module: str, known: Collection[str]) -> str | None:
    """Return the nearest module around this one that is listed too."""
    while module:
        module = module.rpartition(".")[0]
        if module in known:
            return module
    return None


def _part(module: str) -> str:
    """Return the part of the model that a module belongs to: ``stages.0.mixer``, ``head``."""
    if not module:
        return "(model)"
    inside = re.match(r"(.*?)\bblocks\.\d+\.?([^.]*)", module)
    if inside:
        return f"{inside[1]}{inside[2] or 'blocks'}"
    return ".".join(module.split(".")[:3])
