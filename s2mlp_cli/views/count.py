"""``count``: what each model costs, where, and what the papers print."""

from __future__ import annotations

import re
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from typing import Any, Literal

from s2mlp_cli.records.audit import AuditCell
from s2mlp_cli.records.count import (
    CountRecord,
    CountResult,
    ModuleCount,
    OperatorCount,
    Unsupported,
)
from s2mlp_cli.units import count, size
from s2mlp_cli.views.audit import QUANTITIES, TONES, place
from s2mlp_cli.views.document import (
    Cell,
    Column,
    KeyFigure,
    KnownModel,
    Picture,
    Sheet,
    Table,
    View,
    listed,
    percentage,
    plural,
)
from s2mlp_cli.views.svg import bars

By = Literal["model", "operator", "module"]

# Bars in a picture of one model.
_MOST_PARTS = 14

# A part with less than this of the parameters and of the multiply-adds has no bar of its own.
_LEAST = 0.005


def view(record: CountRecord, by: By = "model", depth: int | None = None) -> View:
    """Return the view.

    Args:
        record: the counts.
        by: what has a row in the tables; documents have the others as well.
        depth: the levels of modules.
    """
    results = record.results
    alone = len(results) == 1 and not record.refused
    wrong = [result for result in results if not result.crosscheck.agree]
    single = alone or by != "model"
    return View(
        title="Parameters and multiply-adds: "
        + listed((result.title or result.model for result in results), "models"),
        answers=tuple(map(_answer, results)) if single else (_summary(record),),
        alarm=bool(wrong),
        key_figures=partial(_key_figures, results[0]) if alone else tuple,
        pictures=lambda: map(_picture, results),
        tables=tuple(_tables(record, by, depth)),
        details=partial(_details, results),
        warnings=(*map(_disagreement, wrong), *_uncounted(results)),
        remarks=(*_remarks(results), *(note for result in results for note in _notes(result))),
        facts=dict(fact for result in results for fact in _facts(result)),
        models=lambda: chain.from_iterable(map(_models, results)),
    )


def sheet(record: CountRecord, by: By = "model", depth: int | None = None) -> Sheet:
    """Return a row per count, or per operator or module."""
    return _models_sheet(record) if by == "model" else _parts_sheet(record, by, depth)


def _tables(record: CountRecord, by: By, depth: int | None) -> Iterator[Table]:
    results = record.results
    if by == "model":
        alone = len(results) == 1 and not record.refused
        yield _quantities(results[0]) if alone else _comparison(record)
    elif by == "operator":
        yield from map(_operators, results)
    else:
        yield from (_modules(result, depth) for result in results)
    if record.refused:
        yield _unsupported(record)
    yield _reasons(results)


def _details(results: Sequence[CountResult]) -> Iterator[Table]:
    for result in results:
        yield _operators(result)
        yield _modules(result)
    yield _published_table(results)


def _answer(result: CountResult) -> str:
    height, width = result.input_size
    batch = f", batch {result.batch_size}" if result.batch_size > 1 else ""
    printed = [
        f"{figures[0].printed} {name}"
        for quantity, name in QUANTITIES.items()
        if (figures := _published(result, quantity))
    ]
    return (
        f"{result.title or result.model} at {height}x{width}{batch}: {count(result.params)} "
        f"parameters, {count(result.macs_matmul)} MACs"
        + (f" (published: {', '.join(printed)})" if printed else "")
    )


def _summary(record: CountRecord) -> str:
    """Answer for several counts: the least and the most."""
    results = record.results
    if not results:
        return "No model was counted."
    least, most = (choose(results, key=lambda result: result.macs_matmul) for choose in (min, max))
    models = len({result.model for result in results})
    sizes = len({result.input_size for result in results})

    def called(result: CountResult) -> str:
        words = [result.model] if models > 1 or sizes == 1 else []
        words += [size_text(result.input_size)] if sizes > 1 else []
        return " at ".join(words)

    counted = plural(models, "model") + (f" at {sizes} sizes" if sizes > 1 else "")
    unsupported = f"; {len(record.refused)} unsupported" if record.refused else ""
    return (
        f"{counted}, from {count(least.macs_matmul)} MACs ({called(least)}) to "
        f"{count(most.macs_matmul)} ({called(most)}){unsupported}"
    )


def _key_figures(result: CountResult) -> Iterator[KeyFigure]:
    values = {"params": result.params, "flops": result.macs_matmul}
    for quantity, title in (("params", "Parameters"), ("flops", "MACs")):
        figures = _published(result, quantity)
        said = f"published {figures[0].printed}: {figures[0].verdict}" if figures else ""
        tone = TONES[figures[0].verdict] if figures else None
        yield KeyFigure(title, count(values[quantity]), said, tone)
    yield KeyFigure("Activations", count(result.activations), "conv/linear outputs")
    agree = result.crosscheck.agree
    said = "fvcore, closed form, FlopCounterMode"
    yield KeyFigure(
        "Three methods", "agree" if agree else "differ", said, "good" if agree else "bad"
    )


def _quantities(result: CountResult) -> Table:
    """Return one model, one quantity to a row, with the published ones beside."""
    rows: list[tuple[str, int, str | None]] = [
        ("parameters", result.params, "params"),
        (_inside("without the classifier"), result.params_without_head, None),
        ("MACs", result.macs_matmul, "flops"),
        *(
            [(_inside(f"as executed with '{result.shift}'"), result.macs, None)]
            * bool(result.shift)
        ),
        ("conv/linear outputs", result.activations, None),
        ("element-wise operations", result.elementwise, None),
    ]
    return Table(
        caption="",
        columns=(
            Column("Quantity"),
            Column("Value", count, numeric=True),
            Column("Published", numeric=True),
            Column("Difference", "{:+.1%}".format, numeric=True),
            Column("Verdict", tones=TONES),
        ),
        rows=tuple(row for each in rows for row in _beside_published(result, *each)),
    )


def _beside_published(
    result: CountResult, name: str, value: int, quantity: str | None
) -> Iterator[tuple[object, ...]]:
    """Yield a quantity, and a row of its own for what the paper counts where that is not it."""
    figures = _published(result, quantity) if quantity else []
    if not figures:
        yield name, value, None, None, None
        return
    first = figures[0]
    beside = (first.printed, first.difference, first.verdict)
    if count(first.computed) == count(value):
        yield name, value, *beside
    else:
        yield name, value, None, None, None
        yield _inside("as the paper counts"), first.computed, *beside


def _inside(text: str) -> str:
    return f"\u00a0\u00a0{text}"


def _comparison(record: CountRecord) -> Table:
    """Return one row per model and size."""
    return Table(
        caption="",
        columns=(
            Column("Model"),
            Column("Input", common="{}"),
            Column("Batch", numeric=True, common="batch {}"),
            Column("Params", count, numeric=True),
            Column("as paper counts", count, numeric=True),
            Column("MACs", count, numeric=True),
            Column("Published", numeric=True),
            Column("Verdict"),
            Column("Shift", common="shift {}"),
            Column("Without head", count, numeric=True, optional=True),
            Column("MACs as executed", count, numeric=True, optional=True),
            Column("Activations", count, numeric=True, optional=True),
        ),
        rows=tuple(_compared(row) for row in _in_order(record) if isinstance(row, CountResult)),
    )


def _in_order(record: CountRecord) -> list[CountResult | Unsupported]:
    """Return what was counted and what is unsupported: model by model, the smallest size first."""
    asked: list[CountResult | Unsupported] = [*record.results, *record.refused]
    order = list(dict.fromkeys(row.model for row in asked))
    return sorted(asked, key=lambda row: (order.index(row.model), row.input_size))


def _compared(result: CountResult) -> tuple[object, ...]:
    params = _published(result, "params")
    figures = [figures[0] for name in QUANTITIES if (figures := _published(result, name))]
    verdicts = list(dict.fromkeys(figure.verdict for figure in figures))
    said = "\n".join(
        verdicts
        if len(verdicts) < 2
        else [f"{QUANTITIES[figure.quantity]}: {figure.verdict}" for figure in figures]
    )
    tone = TONES[max(verdicts, key=list(TONES).index)] if verdicts else None
    return (
        result.model,
        size_text(result.input_size),
        result.batch_size,
        result.params,
        params[0].computed if params else None,
        result.macs_matmul,
        ", ".join(figure.printed for figure in figures),
        Cell(said, said, tone),
        result.shift,
        result.params_without_head,
        result.macs if result.shift else None,
        result.activations,
    )


def _unsupported(record: CountRecord) -> Table:
    return Table(
        caption="Unsupported",
        columns=(Column("Model"), Column("Input"), Column("Why", prose=True)),
        rows=tuple(
            (each.model, size_text(each.input_size), each.reason) for each in record.refused
        ),
    )


def _operators(result: CountResult) -> Table:
    whole = result.macs_matmul or 1
    return Table(
        caption=f"{result.model}: operators",
        columns=(
            Column("Operator"),
            Column("Calls", numeric=True),
            Column("MACs", _count, numeric=True),
            percentage("Share"),
            Column("Element-wise", _count, numeric=True),
            Column("Activations", _count, numeric=True),
        ),
        rows=tuple(
            (each.operator, each.calls, each.macs, _share(each.macs / whole), each.elementwise,
             each.activations)
            for each in result.by_operator
        ),
    )  # fmt: skip


def _modules(result: CountResult, depth: int | None = None) -> Table:
    whole = result.macs_matmul or 1
    return Table(
        caption=f"{result.model}: modules",
        columns=(
            Column("Module"),
            Column("Kernel", _shape),
            Column("Input", _shape),
            Column("Output", _shape),
            Column("Params", _count, numeric=True),
            Column("MACs", _count, numeric=True),
            replace(percentage("Share"), optional=True),
            Column("Element-wise", _count, numeric=True, optional=True),
            Column("Activations", _count, numeric=True, optional=True),
            Column("Kind", optional=True),
        ),
        rows=tuple(
            (Cell(each.module, label), each.kernel_size, _of_one(each.input_shape, result),
             _of_one(each.output_shape, result), each.params, each.macs,
             _share(each.macs / whole), each.elementwise, each.activations, each.kind)
            for label, each in folded_modules(result, depth)
        ),
        note="Shapes are those of one image." * any(each.input_shape for each in result.by_module),
    )  # fmt: skip


def _of_one(sizes: tuple[int, ...] | None, result: CountResult) -> tuple[int, ...] | None:
    """Return a shape without the axis of the batch, where that comes first."""
    return sizes[1:] if sizes and len(sizes) > 1 and sizes[0] == result.batch_size else sizes


def folded_modules(
    result: CountResult, depth: int | None = None
) -> Iterator[tuple[str, ModuleCount]]:
    """Yield (indented label, module) in the order of the model, equal neighbours once.

    ``blocks.0-13, each`` stands for 14 modules that have the same parts and cost the same.
    """
    inside: dict[str | None, list[ModuleCount]] = {}
    known = {each.module for each in result.by_module}
    for each in result.by_module:
        inside.setdefault(_parent(each.module, known), []).append(each)
    yield from _folded(inside, inside.get(None, []), 0, depth)


_Inside = Mapping[str | None, Sequence[ModuleCount]]


def _folded(
    inside: _Inside, siblings: Sequence[ModuleCount], level: int, depth: int | None
) -> Iterator[tuple[str, ModuleCount]]:
    if depth is not None and level > depth:
        return
    for _, group in groupby(enumerate(siblings), lambda pair: _alike(inside, *pair)):
        modules = [module for _, module in group]
        yield "\u00a0\u00a0" * level + _label(modules), modules[0]
        yield from _folded(inside, inside.get(modules[0].module, []), level + 1, depth)


def _alike(inside: _Inside, place: int, module: ModuleCount) -> Hashable:
    """Return what equal blocks of a list have in common; others are alike to nothing."""
    number = module.module.rpartition(".")[2]
    return (int(number) - place, _signature(inside, module)) if number.isdecimal() else place


def _signature(inside: _Inside, module: ModuleCount) -> Hashable:
    own = tuple(getattr(module, name) for name in ModuleCount.model_fields if name != "module")
    parts = inside.get(module.module, ())
    return own, tuple(
        (part.module.removeprefix(module.module), _signature(inside, part)) for part in parts
    )


def _label(modules: Sequence[ModuleCount]) -> str:
    first, last = modules[0], modules[-1]
    around, _, name = first.module.rpartition(".")
    if first is not last:
        list_name = around.rpartition(".")[2]
        numbers = f"{name}-{last.module.rpartition('.')[2]}"
        return f"{list_name}.{numbers}, each" if list_name else f"{numbers}, each"
    shared = f" (shares {first.shared})" if first.shared else ""
    return (name or "model") + shared


def _shape(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


def _count(value: float) -> str:
    return count(value) if value else ""


def _share(fraction: float) -> Cell:
    return Cell(fraction, f"{100 * fraction:.1f}" if fraction else "", fraction=min(fraction, 1))


def _level(row: ModuleCount) -> int:
    return len(row.module.split(".")) if row.module else 0


def _down_to(result: CountResult, depth: int | None) -> list[ModuleCount]:
    return [row for row in result.by_module if depth is None or _level(row) <= depth]


def _published(result: CountResult, quantity: str) -> list[AuditCell]:
    """Return the figures that papers print of one quantity of a model."""
    return [figure for figure in result.published if figure.quantity == quantity]


def _published_table(results: Iterable[CountResult]) -> Table:
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
                f"{place(figure)}, {figure.row}",
                QUANTITIES[figure.quantity],
                figure.printed,
                figure.computed,
                figure.verdict,
            )
            for result in results
            for figure in result.published
        ),
    )


def _reasons(results: Collection[CountResult]) -> Table:
    """Return why a figure does not simply agree, each printed figure and reason once."""
    unique = {
        (result.model, figure.printed, figure.reason): figure
        for result in results
        for figure in result.published
        if figure.reason
    }
    return Table(
        caption="Why a figure does not simply agree",
        columns=(
            Column("Model", common="{}"),
            Column("Where"),
            Column("Printed"),
            Column("Verdict", tones=TONES),
            Column("Reason", prose=True),
        ),
        rows=tuple(
            (model, place(figure), printed, figure.verdict, reason)
            for (model, printed, reason), figure in unique.items()
        ),
    )


def _disagreement(result: CountResult) -> str:
    check = result.crosscheck
    return (
        f"{result.model}: the methods DISAGREE: fvcore {check.fvcore:,}, closed form "
        f"{check.closed_form}, FlopCounterMode {check.flop_counter:,} MACs"
    )


def _uncounted(results: Iterable[CountResult]) -> Iterator[str]:
    for result in results:
        for each in result.uncounted:
            yield (
                f"{result.model}: {each.operator} is not counted ({each.calls} calls): "
                f"{each.reason}"
            )


def _remarks(results: Collection[CountResult]) -> Iterator[str]:
    """Yield what a reader must know to trust the numbers: the unit, the shift, the checks."""
    yield "1 MAC = one multiply-add: what the papers call a FLOP."
    if len(results) == 1:
        (result,) = results
        yield from _shift_remark(result)
        check = result.crosscheck
        if check.agree:
            closed = ", closed form" if check.closed_form is not None else ""
            yield f"fvcore{closed} and FlopCounterMode agree: {check.fvcore:,} MACs."
    elif results and all(result.crosscheck.agree for result in results):
        yield "For every model all methods agree to the last unit."


def _notes(result: CountResult) -> Iterator[str]:
    yield from (f"{result.model}: {note}" for note in result.notes)


def _facts(result: CountResult) -> Iterator[tuple[str, str]]:
    """Yield where a model came from, if it is more than a spec."""
    source = result.source
    if source is not None and source.kind != "spec":
        arguments = ", ".join(f"{name}={value}" for name, value in source.arguments.items())
        file = f"sha256 {source.sha256[:16]}…" if source.sha256 else ""
        weights = f"weights of {source.weights}" if source.weights else ""
        averaged = "averaged weights" if source.averaged else ""
        said = ", ".join(filter(None, [source.path, arguments, file, weights, averaged]))
        yield f"{result.model} ({source.kind})", said


def _shift_remark(result: CountResult) -> Iterator[str]:
    cost = result.shift_cost
    if cost is not None:
        moved = "an unknown amount" if cost.bytes_moved is None else size(cost.bytes_moved)
        executed = f"executes {count(cost.macs)} MACs" if cost.macs else "multiplies nothing"
        yield (
            f"The shift '{result.shift}' {executed} and moves {moved} at {cost.itemsize} bytes "
            f"per value; one read and one write of each shifted map would be "
            f"{size(cost.bytes_least)}."
        )


def size_text(input_size: tuple[int, int]) -> str:
    """Return height and width as users write them: ``288x224``."""
    return "x".join(map(str, input_size))


def _picture(result: CountResult) -> Picture:
    shares = parts(result)
    largest = max(shares, key=lambda part: part[2], default=("nothing", 0, 0))
    name = result.title or result.model
    return Picture(
        name=f"modules-{result.model}-{size_text(result.input_size)}",
        title=f"Where {name} has its parameters and MACs",
        description=(
            f"Bars of the percentage of parameters and of multiply-adds in each part of "
            f"{name}; most multiply-adds are in {largest[0]}."
        ),
        draw=partial(bars.modules, shares),
    )


def parts(result: CountResult) -> list[tuple[str, int, int]]:
    """Return (part, parameters, MACs) that add up to the model, in the order of the model.

    The blocks of a stage are added up (``stages.0.mixer`` is all mixers of stage 0); parts under
    half a percent of both, and those beyond the 14 largest, become ``others``.
    """
    sums: dict[str, list[int]] = {}
    for module, params, macs in _own(result):
        entry = sums.setdefault(_part(module), [0, 0])
        entry[0] += params
        entry[1] += macs
    rows = [(name, params, macs) for name, (params, macs) in sums.items()]

    def weight(row: tuple[str, int, int]) -> float:
        return max(row[1] / (result.params or 1), row[2] / (result.macs or 1))

    large = [row for row in sorted(rows, key=weight, reverse=True) if weight(row) >= _LEAST]
    kept = [row for row in rows if row in large[:_MOST_PARTS]]
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


def _models(result: CountResult) -> Iterator[KnownModel]:
    """Yield the cost that was counted, and the accuracies that papers print of the model."""
    macs, params = result.macs_matmul / result.batch_size, result.params
    yield KnownModel(result.model, result.model, macs=macs, params=params)
    for figure in result.published:
        if figure.top1 is not None:
            yield KnownModel(result.model, figure.row, figure.top1, macs=macs, params=params)


# Header of the sheet -> what it reads.
_FIELDS: dict[str, Callable[[CountResult], Any]] = {
    "model": lambda result: result.model,
    "title": lambda result: result.title,
    "input_size": lambda result: size_text(result.input_size),
    "batch_size": lambda result: result.batch_size,
    "shift": lambda result: result.shift,
    "params": lambda result: result.params,
    "params_without_head": lambda result: result.params_without_head,
    "macs": lambda result: result.macs,
    "macs_matmul": lambda result: result.macs_matmul,
    "activations": lambda result: result.activations,
    "elementwise": lambda result: result.elementwise,
    "published_params": lambda result: _printed(result, "params"),
    "published_flops": lambda result: _printed(result, "flops"),
    "crosscheck": lambda result: "agree" if result.crosscheck.agree else "differ",
}


def _printed(result: CountResult, quantity: str) -> str | None:
    figures = _published(result, quantity)
    return figures[0].printed if figures else None


def _models_sheet(record: CountRecord) -> Sheet:
    """Return a row per count, the smallest size first."""
    return _sheet(
        _FIELDS,
        [
            {
                **{name: read(row) for name, read in _FIELDS.items()},
                "uncounted": ", ".join(f"{each.operator} x{each.calls}" for each in row.uncounted),
                "notes": "; ".join(row.notes),
            }
            if isinstance(row, CountResult)
            else _not_built(row)
            for row in _in_order(record)
        ],
    )


def _parts_sheet(record: CountRecord, by: By, depth: int | None) -> Sheet:
    """Return a row per model and operator or module."""
    kind: type[OperatorCount | ModuleCount] = OperatorCount if by == "operator" else ModuleCount
    rows: list[dict[str, object]] = []
    for result in record.results:
        parts = result.by_operator if by == "operator" else _down_to(result, depth)
        for part in parts:
            rows.append({"model": result.model, **{k: _raw(v) for k, v in part}})
        for each in result.uncounted:
            what = {"operator": each.operator, "calls": each.calls} if by == "operator" else {}
            said = each.reason if what else f"{each.operator} x{each.calls}: {each.reason}"
            rows.append({"model": result.model, **what, "uncounted": said})
    rows += [_not_built(each) for each in record.refused]
    return _sheet(("model", *kind.model_fields), rows)


def _not_built(row: Unsupported) -> dict[str, object]:
    return {"model": row.model, "input_size": size_text(row.input_size), "not_built": row.reason}


def _sheet(columns: Iterable[str], rows: Sequence[Mapping[str, object]]) -> Sheet:
    """Return rows under their columns; what few counts have is a column where one has it."""
    extra = [
        name
        for name in ("input_size", "uncounted", "notes", "not_built")
        if name not in columns and any(row.get(name) for row in rows)
    ]
    header = (*columns, *extra)
    return Sheet(header, tuple(tuple(row.get(name) for name in header) for row in rows))


def _raw(value: object) -> object:
    return "x".join(map(str, value)) if isinstance(value, tuple) else value
