"""``count``: what each model costs, and what the papers print."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain

from s2mlp_cli.records.audit import AuditCell
from s2mlp_cli.records.count import CountRecord, CountResult
from s2mlp_cli.units import count, size
from s2mlp_cli.views.count_sheet import By, in_order, sheet, size_text
from s2mlp_cli.views.document import (
    Cell,
    Column,
    KeyFigure,
    KnownModel,
    Table,
    Tone,
    View,
    listed,
    plural,
)
from s2mlp_cli.views.modules import modules, operators, picture
from s2mlp_cli.views.published import QUANTITIES, TONES, printed_of, published_table, reasons

__all__ = ["sheet", "view"]

# Before the name of a part of the quantity above it.
_INSIDE = "\u00a0\u00a0"


def view(record: CountRecord, by: By = "model", depth: int | None = None) -> View:
    """Return the view.

    Args:
        record: the counts.
        by: what has a row in the tables; documents show everything.
        depth: the levels of modules.
    """
    results = record.results
    alone = len(results) == 1 and not record.refused
    return View(
        title="Parameters and multiply-adds: "
        + listed((result.title or result.model for result in results), "models"),
        answers=tuple(map(_answer, results)) if alone or by != "model" else (_summary(record),),
        alarm=bool(record.disagreeing),
        key_figures=partial(_key_figures, results[0]) if alone else tuple,
        pictures=lambda: map(picture, results),
        tables=tuple(_tables(record, by, depth)),
        details=partial(_details, results),
        warnings=tuple(_warnings(record)),
        remarks=tuple(_remarks(results)),
        facts=dict(fact for result in results for fact in _facts(result)),
        models=lambda: chain.from_iterable(map(_models, results)),
    )


def _tables(record: CountRecord, by: By, depth: int | None) -> Iterator[Table]:
    results = record.results
    if by == "operator":
        yield from map(operators, results)
    elif by == "module":
        yield from (modules(result, depth) for result in results)
    elif len(results) == 1 and not record.refused:
        yield _quantities(results[0])
    else:
        yield _comparison(record)
    if record.refused:
        yield _unsupported(record)
    yield reasons(figure for result in results for figure in result.published)


def _details(results: Sequence[CountResult]) -> Iterator[Table]:
    for result in results:
        yield operators(result)
        yield modules(result)
    yield published_table(results)


def _answer(result: CountResult) -> str:
    batch = f", batch {result.batch_size}" if result.batch_size > 1 else ""
    printed = [f"{cell.printed} {QUANTITIES[name]}" for name, cell in printed_of(result).items()]
    return (
        f"{result.title or result.model} at {size_text(result.input_size)}{batch}: "
        f"{count(result.params)} parameters, {count(result.macs_matmul)} MACs"
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
    values = {"params": ("Parameters", result.params), "flops": ("MACs", result.macs_matmul)}
    printed = printed_of(result)
    for quantity, (title, value) in values.items():
        cell = printed.get(quantity)
        said = f"published {cell.printed}: {cell.verdict}" if cell else ""
        yield KeyFigure(title, count(value), said, TONES[cell.verdict] if cell else None)
    yield KeyFigure("Conv/linear outputs", count(result.activations), "fvcore's activations")
    methods, agree = result.crosscheck.methods, result.crosscheck.agree
    verdict = "agree" if agree else "differ"
    tone: Tone = "good" if agree else "bad"
    yield KeyFigure(f"{len(methods)} methods", verdict, ", ".join(methods), tone)


def _quantities(result: CountResult) -> Table:
    """Return one model, one quantity to a row, with the published ones beside."""
    printed = printed_of(result)
    rows = [
        *_beside_published("parameters", result.params, printed.get("params")),
        (f"{_INSIDE}without the classifier", result.params_without_head),
        *_beside_published("MACs", result.macs_matmul, printed.get("flops")),
        *([(f"{_INSIDE}as executed with '{result.shift}'", result.macs)] * bool(result.shift)),
        ("conv/linear outputs", result.activations),
        ("element-wise operations", result.elementwise),
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
        rows=tuple((*row, None, None, None)[:5] for row in rows),
    )


def _beside_published(
    name: str, value: int, figure: AuditCell | None
) -> Iterator[tuple[object, ...]]:
    """Yield a quantity, and a row of its own for what the paper counts where that is not it."""
    if figure is None:
        yield name, value
        return
    beside = (figure.printed, figure.difference, figure.verdict)
    if count(figure.computed) == count(value):
        yield name, value, *beside
    else:
        yield name, value
        yield f"{_INSIDE}as the paper counts", figure.computed, *beside


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
        rows=tuple(_compared(row) for row in in_order(record) if isinstance(row, CountResult)),
    )


def _compared(result: CountResult) -> tuple[object, ...]:
    printed = printed_of(result)
    verdicts = {cell.verdict for cell in printed.values()}
    said = "\n".join(
        verdicts
        if len(verdicts) < 2
        else [f"{QUANTITIES[name]}: {cell.verdict}" for name, cell in printed.items()]
    )
    tone = TONES[max(verdicts, key=list(TONES).index)] if verdicts else None
    return (
        result.model,
        size_text(result.input_size),
        result.batch_size,
        result.params,
        printed["params"].computed if "params" in printed else None,
        result.macs_matmul,
        ", ".join(cell.printed for cell in printed.values()),
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


def _warnings(record: CountRecord) -> Iterator[str]:
    for result in record.disagreeing:
        found = (f"{name} {macs:,}" for name, macs in result.crosscheck.methods.items())
        yield f"{result.model}: the methods DISAGREE: {', '.join(found)} MACs"
    for result in record.results:
        for each in result.uncounted:
            calls = plural(each.calls, "call")
            yield f"{result.model}: {each.operator} is not counted ({calls}): {each.reason}"


def _remarks(results: Collection[CountResult]) -> Iterator[str]:
    """Yield what a reader must know to trust the numbers: the unit, the shift, the checks."""
    yield "1 MAC = one multiply-add: what the papers call a FLOP."
    agree = all(result.crosscheck.agree for result in results)
    if len(results) == 1:
        (result,) = results
        yield from _shift_remark(result)
        if agree:
            *names, last = result.crosscheck.methods
            yield f"{', '.join(names)} and {last} agree: {result.crosscheck.fvcore:,} MACs."
    elif results and agree:
        yield "For every model all methods agree to the last unit."
    for result in results:
        yield from (f"{result.model}: {note}" for note in result.notes)


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


def _models(result: CountResult) -> Iterator[KnownModel]:
    """Yield the cost that was counted, and the accuracies that papers print of the model."""
    macs, params = result.macs_matmul / result.batch_size, result.params
    yield KnownModel(result.model, result.model, macs=macs, params=params)
    for figure in result.published:
        if figure.top1 is not None:
            yield KnownModel(result.model, figure.row, figure.top1, macs=macs, params=params)
