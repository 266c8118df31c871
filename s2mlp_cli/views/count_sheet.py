"""Counts as CSV and Markdown have them: raw values, one row per model, operator or module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from s2mlp_cli.records.count import (
    CountRecord,
    CountResult,
    ModuleCount,
    OperatorCount,
    Unsupported,
)
from s2mlp_cli.views.document import Sheet
from s2mlp_cli.views.published import printed_of

By = Literal["model", "operator", "module"]

_FIELDS: tuple[str, ...] = (
    *("model", "title", "input_size", "batch_size", "shift", "params", "params_without_head"),
    *("macs", "macs_matmul", "activations", "elementwise", "published_params", "published_flops"),
    "crosscheck",
)


def in_order(record: CountRecord) -> list[CountResult | Unsupported]:
    """Return what was counted and what is unsupported: model by model, the smallest size first."""
    asked: list[CountResult | Unsupported] = [*record.results, *record.refused]
    order = list(dict.fromkeys(row.model for row in asked))
    return sorted(asked, key=lambda row: (order.index(row.model), row.input_size))


def size_text(sizes: tuple[int, ...]) -> str:
    """Return height and width, or a shape, as users write it: ``288x224``."""
    return "x".join(map(str, sizes))


def sheet(record: CountRecord, by: By = "model", depth: int | None = None) -> Sheet:
    """Return a row per count, the smallest size first, or per model and operator or module."""
    columns, rows = _FIELDS, list(map(_row, in_order(record)))
    if by != "model":
        kind: type[OperatorCount | ModuleCount] = OperatorCount if by == "operator" else ModuleCount
        columns = ("model", *kind.model_fields)
        rows = [row for result in record.results for row in _part_rows(result, by, depth)]
        rows += map(_row, record.refused)
    # What few counts have is a column where one has it.
    extra = [
        name
        for name in ("input_size", "uncounted", "notes", "not_built")
        if name not in columns and any(row.get(name) for row in rows)
    ]
    header = (*columns, *extra)
    return Sheet(header, tuple(tuple(row.get(name) for name in header) for row in rows))


def _row(result: CountResult | Unsupported) -> dict[str, object]:
    size = size_text(result.input_size)
    if isinstance(result, Unsupported):
        return {"model": result.model, "input_size": size, "not_built": result.reason}
    printed = {f"published_{name}": cell.printed for name, cell in printed_of(result).items()}
    return {
        **dict(result),
        **printed,
        "input_size": size,
        "crosscheck": "agree" if result.crosscheck.agree else "differ",
        "uncounted": ", ".join(f"{each.operator} x{each.calls}" for each in result.uncounted),
        "notes": "; ".join(result.notes),
    }


def _part_rows(result: CountResult, by: By, depth: int | None) -> Iterator[dict[str, object]]:
    parts: Sequence[OperatorCount | ModuleCount] = result.by_operator
    if by == "module":
        levels = ((each.module.count(".") + bool(each.module), each) for each in result.by_module)
        parts = [each for level, each in levels if depth is None or level <= depth]
    for part in parts:
        shapes = {name: size_text(value) for name, value in part if isinstance(value, tuple)}
        yield {"model": result.model, **dict(part), **shapes}
    for missed in result.uncounted:
        if by == "operator":
            yield {"model": result.model, **dict(missed), "uncounted": missed.reason}
        else:
            said = f"{missed.operator} x{missed.calls}: {missed.reason}"
            yield {"model": result.model, "uncounted": said}
