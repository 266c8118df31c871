"""Counts as CSV and Markdown have them: raw values, one row per model, operator or module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

_FIELDS = (
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
    if by == "model":
        counts = in_order(record)
        rows = [_not_built(row) if isinstance(row, Unsupported) else _row(row) for row in counts]
        return _filled(_FIELDS, rows)
    kind: type[OperatorCount | ModuleCount] = OperatorCount if by == "operator" else ModuleCount
    rows = [row for result in record.results for row in _part_rows(result, by, depth)]
    return _filled(("model", *kind.model_fields), [*rows, *map(_not_built, record.refused)])


def _row(result: CountResult) -> dict[str, object]:
    printed = {f"published_{name}": cell.printed for name, cell in printed_of(result).items()}
    return {
        **dict(result),
        **printed,
        "input_size": size_text(result.input_size),
        "crosscheck": "agree" if result.crosscheck.agree else "differ",
        "uncounted": ", ".join(f"{each.operator} x{each.calls}" for each in result.uncounted),
        "notes": "; ".join(result.notes),
    }


def _part_rows(result: CountResult, by: By, depth: int | None) -> Iterator[dict[str, object]]:
    operators = by == "operator"
    for part in result.by_operator if operators else _down_to(result, depth):
        shapes = {name: size_text(value) for name, value in part if isinstance(value, tuple)}
        yield {"model": result.model, **dict(part), **shapes}
    for each in result.uncounted:
        if operators:
            yield {"model": result.model, **dict(each), "uncounted": each.reason}
        else:
            said = f"{each.operator} x{each.calls}: {each.reason}"
            yield {"model": result.model, "uncounted": said}


def _down_to(result: CountResult, depth: int | None) -> list[ModuleCount]:
    def level(module: str) -> int:
        return len(module.split(".")) if module else 0

    return [row for row in result.by_module if depth is None or level(row.module) <= depth]


def _not_built(row: Unsupported) -> dict[str, object]:
    return {"model": row.model, "input_size": size_text(row.input_size), "not_built": row.reason}


def _filled(columns: tuple[str, ...], rows: Sequence[Mapping[str, object]]) -> Sheet:
    """Return rows under their columns; what few counts have is a column where one has it."""
    extra = [
        name
        for name in ("input_size", "uncounted", "notes", "not_built")
        if name not in columns and any(row.get(name) for row in rows)
    ]
    header = (*columns, *extra)
    return Sheet(header, tuple(tuple(row.get(name) for name in header) for row in rows))
