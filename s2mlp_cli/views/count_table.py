"""Several counts beside each other: models, sizes, and what could not be built."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from s2mlp_cli.records.count import CountRecord, CountResult, PublishedFigure, Refusal
from s2mlp_cli.units import count
from s2mlp_cli.views.tables import house_table

QUANTITIES = {"params": "parameters", "flops": "MACs"}


def headline(record: CountRecord) -> Text:
    """Return the line that answers for several counts: the least and the most."""
    results = record.results
    if not results:
        return Text("No model was counted.", style="answer")
    least, most = (choose(results, key=lambda result: result.macs_matmul) for choose in (min, max))
    models = len({result.model for result in results})
    sizes = len({result.input_size for result in results})
    counted = f"{models} model{'s' * (models > 1)}" + (f" at {sizes} sizes" if sizes > 1 else "")
    refused = f"; {len(record.refused)} not built" if record.refused else ""
    return Text(
        f"{counted}, from {count(least.macs_matmul)} MACs ({_called(least, models, sizes)}) to "
        f"{count(most.macs_matmul)} ({_called(most, models, sizes)}){refused}",
        style="answer",
    )


def _called(result: CountResult, models: int, sizes: int) -> str:
    """Return what tells a result from the others of its record: its model, its size, or both."""
    words = [result.model] if models > 1 or sizes == 1 else []
    words += [size_text(result.input_size)] if sizes > 1 else []
    return " at ".join(words)


def comparison(record: CountRecord) -> RenderableType:
    """Return one row per model and size; what could not be built stands there with its reason."""
    table = house_table("=model", "=input", ">params", ">MACs", ">published", "verdict")
    for row in in_order(record):
        cells = _compared(row) if isinstance(row, CountResult) else _not_built(row)
        table.add_row(Text(row.model, style="key"), size_text(row.input_size), *cells)
    return table


def in_order(record: CountRecord) -> list[CountResult | Refusal]:
    """Return what was counted and what was refused: model by model, the smallest size first."""
    asked: list[CountResult | Refusal] = [*record.results, *record.refused]
    order = list(dict.fromkeys(row.model for row in asked))
    return sorted(asked, key=lambda row: (order.index(row.model), row.input_size))


def _compared(result: CountResult) -> Iterable[RenderableType]:
    figures = [published(result, quantity) for quantity in QUANTITIES]
    yield count(result.params)
    yield count(result.macs_matmul)
    yield ", ".join(group[0].printed for group in figures if group)
    yield ", ".join(dict.fromkeys(group[0].verdict for group in figures if group))


def _not_built(refusal: Refusal) -> Iterable[RenderableType]:
    yield from ("", "", "")
    yield Text(f"not built: {refusal.reason}", style="warn")


def refusals(record: CountRecord) -> Iterable[Text]:
    """Yield what could not be built as a line each, where there is no table to hold it."""
    for each in record.refused:
        where = f"{each.model} at {size_text(each.input_size)}"
        yield Text(f"{where} is not built: {each.reason}", style="warn")


def published(result: CountResult, quantity: str) -> list[PublishedFigure]:
    """Return the figures that papers print of one quantity of a model."""
    return [figure for figure in result.published if figure.quantity == quantity]


def size_text(size: tuple[int, int]) -> str:
    """Return height and width as they are asked for: ``288x224``."""
    return "x".join(map(str, size))
