"""Counts on the terminal, and as plain rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from s2mlp_cli.records.count import (
    CountRecord,
    CountResult,
    ModuleCount,
    OperatorCount,
    PublishedFigure,
)
from s2mlp_cli.units import count
from s2mlp_cli.views.count_notes import notes
from s2mlp_cli.views.count_table import (
    QUANTITIES,
    comparison,
    headline,
    in_order,
    published,
    refusals,
    size_text,
)
from s2mlp_cli.views.sheets import Sheet
from s2mlp_cli.views.tables import house_table


def terminal(record: CountRecord, by: str = "model", depth: int = 3) -> RenderableType:
    """Return the answer in one line per model, then the side of the record that ``by`` names."""
    parts: list[RenderableType] = [answer(result) for result in record.results]
    if by == "operator":
        parts += [*map(_operators, record.results), *refusals(record)]
    elif by == "module":
        parts += [*(_modules(result, depth) for result in record.results), *refusals(record)]
    elif len(record.results) == 1 and not record.refused:
        parts.append(_details(record.results[0]))
    else:
        parts = [headline(record), comparison(record)]
    return Group(*parts, *notes(record.results))


def answer(result: CountResult) -> Text:
    """Return the line that answers the question for one model."""
    height, width = result.input_size
    text = Text(style="answer")
    text.append(f"{result.title or result.model}", style="key")
    batch = f", batch {result.batch_size}" if result.batch_size > 1 else ""
    text.append(f" at {height}x{width}{batch}: {count(result.params)} parameters, ")
    text.append(f"{count(result.macs_matmul)} MACs")
    printed = [
        f"{figures[0].printed} {QUANTITIES[quantity]}"
        for quantity in QUANTITIES
        if (figures := published(result, quantity))
    ]
    if printed:
        text.append(f" (published: {', '.join(printed)})")
    return text


def _details(result: CountResult) -> RenderableType:
    """Return one model, one figure to a row, with the published ones beside."""
    table = house_table("figure", ">value", ">published", ">difference", "verdict")
    rows: list[_Figure] = [
        ("parameters", result.params, "params"),
        ("  without the classifier", result.params_without_head, None),
        ("MACs, algorithmic", result.macs_matmul, "flops"),
        *_executed(result),
        ("activations of the products", result.activations, None),
        ("operations on single values", result.elementwise, None),
    ]
    for label, value, quantity in rows:
        figures = published(result, quantity) if quantity else []
        same = bool(figures) and count(figures[0].computed) == count(value)
        table.add_row(label, count(value), *_beside(figures if same else []))
        if figures and not same:
            table.add_row("  as the paper counts", count(figures[0].computed), *_beside(figures))
    return table


# (label, value, the quantity of which papers print figures).
_Figure = tuple[str, float, str | None]


def _executed(result: CountResult) -> Iterable[_Figure]:
    if result.shift is not None:
        yield f"  as executed with '{result.shift}'", result.macs, None


def _beside(figures: list[PublishedFigure]) -> tuple[str, str, RenderableType]:
    """Return the cells beside a value: what is printed, how far off, and the verdict."""
    if not figures:
        return "", "", ""
    first = figures[0]
    style = "bad" if first.verdict == "differs" else "good"
    return first.printed, f"{first.difference:+.1%}", Text(first.verdict, style=style)


def _operators(result: CountResult) -> RenderableType:
    table = house_table(
        "operator",
        ">calls",
        ">MACs",
        ">share",
        ">single values",
        ">activations",
        title=result.model,
    )
    for row in result.by_operator:
        share = f"{row.macs / result.macs_matmul:.1%}" if row.macs else ""
        table.add_row(
            row.operator,
            str(row.calls),
            *_counts(row.macs),
            share,
            *_counts(row.elementwise, row.activations),
        )
    return table


def _modules(result: CountResult, depth: int) -> RenderableType:
    """Return the modules down to ``depth`` as an indented tree."""
    table = house_table(
        "module", ">params", ">MACs", ">share", ">single values", ">activations", title=result.model
    )
    for row in result.by_module:
        if _level(row) <= depth:
            share = f"{row.macs / result.macs_matmul:.1%}" if row.macs else ""
            table.add_row(
                _indented(row),
                *_counts(row.params, row.macs),
                share,
                *_counts(row.elementwise, row.activations),
            )
    return table


def _level(row: ModuleCount) -> int:
    return len(row.module.split(".")) if row.module else 0


def _indented(row: ModuleCount) -> Text:
    name = row.module.rpartition(".")[2] or "model"
    return Text("  " * _level(row) + name)


def _counts(*values: int) -> Iterable[str]:
    return [count(value) if value else "" for value in values]


_COLUMNS: dict[str, Callable[[CountResult], Any]] = {
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
    figures = published(result, quantity)
    return figures[0].printed if figures else None


def sheet(record: CountRecord, by: str = "model", depth: int | None = None) -> Sheet:
    """Return raw numbers: one row per model, or per model and operator or module."""
    if by == "model":
        return _models_sheet(record)
    kind: type[OperatorCount | ModuleCount] = OperatorCount if by == "operator" else ModuleCount
    rows = tuple(
        (result.model, *part.model_dump().values())
        for result in record.results
        for part in (result.by_operator if by == "operator" else _down_to(result, depth))
    )
    return Sheet(("model", *kind.model_fields), rows)


def _down_to(result: CountResult, depth: int | None) -> list[ModuleCount]:
    return [row for row in result.by_module if depth is None or _level(row) <= depth]


def _models_sheet(record: CountRecord) -> Sheet:
    """Return a row per count; a last column says why others were not built, if there are any."""
    rows = [
        {name: read(row) for name, read in _COLUMNS.items()}
        if isinstance(row, CountResult)
        else {"model": row.model, "input_size": size_text(row.input_size), "not_built": row.reason}
        for row in in_order(record)
    ]
    header = (*_COLUMNS, *(["not_built"] if record.refused else []))
    return Sheet(header, tuple(tuple(map(row.get, header)) for row in rows))
