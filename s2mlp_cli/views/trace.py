"""``trace`` for people: the share of the shift first, then where the time and the memory went."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from s2mlp_cli import units
from s2mlp_cli.records.trace import (
    ModuleTime,
    OperatorMemory,
    OperatorTime,
    TraceRecord,
    TraceResult,
)
from s2mlp_cli.views.sheets import Sheet
from s2mlp_cli.views.tables import HouseTable

# Of each table; the record has them all.
ROWS = 10

NO_TIMING = "Tracing slows everything down unevenly: for timings use `s2mlp profile`."


def terminal(record: TraceRecord) -> RenderableType:
    """Return what a terminal shows."""
    parts: list[RenderableType] = []
    for result in record.results:
        parts += [Text(answer(result), style="answer"), *_views(result), Text()]
    return Group(*parts, Text(NO_TIMING, style="quiet"))


def answer(result: TraceResult) -> str:
    """Return the sentence that answers: how much of the model's time are its shifts?"""
    if result.shift_share is None:
        share = "the trace has no scope of a shift alone"
    else:
        share = f"shifts are {units.significant(100 * result.shift_share, 3)} % of the model's time"
    step = f" ({units.seconds(result.step_s)} a run)" if result.step_s else ""
    return f"{result.run}: {share}{step}."


Cells = tuple[str, ...]


@dataclass(frozen=True)
class _View:
    """A table of a traced run: its title, its columns, the rows it takes and what it shows."""

    title: str
    header: Cells
    rows: Callable[[TraceResult], Sequence[Any]]
    cells: Callable[[Any], Cells]


def _by_own_memory(result: TraceResult) -> Sequence[OperatorMemory]:
    return sorted(result.memory, key=lambda row: -row.self_allocated_bytes)


# What is shown of a run, in this order; a view without rows is left out.
_VIEWS = (
    _View(
        "scopes",
        ("scope", "calls", "ms", "% of model"),
        lambda result: result.scopes,
        lambda row: (row.name, str(row.calls), _ms(row.seconds), _percent(row.share)),
    ),
    _View(
        "operators, by own time",
        ("operator", "calls", "own ms", "total ms", "GPU ms"),
        lambda result: result.operators,
        lambda row: (
            row.name, str(row.calls), _ms(row.host_self_s), _ms(row.host_s), _ms(row.device_self_s)
        ),
    ),
    _View(
        "kernels",
        ("kernel", "calls", "ms", "mean ms"),
        lambda result: result.kernels,
        lambda row: (row.name, str(row.calls), _ms(row.total_s), _ms(row.mean_s)),
    ),
    _View(
        "modules",
        ("module", "calls", "own ms", "total ms"),
        lambda result: result.modules,
        lambda row: (
            "  " * row.depth + row.name, str(row.calls), _ms(row.host_self_s), _ms(row.host_s)
        ),
    ),
    _View(
        "memory, by allocated bytes",
        ("operator", "device", "calls", "own MiB"),
        _by_own_memory,
        lambda row: (row.name, row.device, str(row.calls), _mib(row.self_allocated_bytes)),
    ),
)  # fmt: skip


def _views(result: TraceResult) -> Iterator[RenderableType]:
    for view in _VIEWS:
        rows = view.rows(result)
        if rows:
            yield _table(view.title, view.header, [view.cells(row) for row in rows])
    for text in result.recommendations:
        yield Text(f"! {text}", style="warn")


def _table(title: str, header: Cells, rows: Sequence[Cells]) -> Group:
    """Return the first rows under a title that says how many there are.

    A column without any value is left out: there is no GPU's time on a CPU.
    """
    shown = f"{title} (first {ROWS} of {len(rows)})" if len(rows) > ROWS else title
    columns = zip(header, zip(*rows, strict=True), strict=True)
    (first, names), *numbers = ((name, cells[:ROWS]) for name, cells in columns if any(cells))
    table = HouseTable(box=None, pad_edge=False, header_style="quiet")
    table.add_column(first, overflow="ellipsis", no_wrap=True, max_width=48)
    for name, _ in numbers:
        table.add_column(name, justify="right", overflow="fold", no_wrap=True)
    for row in zip(names, *(cells for _, cells in numbers), strict=True):
        table.add_row(*row)
    return Group(Text(shown, style="key"), table)


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else units.significant(seconds * 1e3)


def _mib(size: float) -> str:
    return units.significant(size / 2**20)


def _percent(share: float | None) -> str:
    return "" if share is None else units.significant(100 * share, 3)


def sheet(record: TraceRecord) -> Sheet:
    """Return the scopes and the operators of all runs as rows."""
    header = ("run", "view", "name", "calls", "host_s", "host_self_s", "device_s", "share")
    rows = [
        (result.run, *line)
        for result in record.results
        for line in (
            *(("scope", s.name, s.calls, s.seconds, None, None, s.share) for s in result.scopes),
            *(("operator", *_times(operator)) for operator in result.operators),
            *(("kernel", k.name, k.calls, None, None, k.total_s, None) for k in result.kernels),
            *(("module", *_times(module)) for module in result.modules),
        )
    ]
    return Sheet(header, tuple(rows))


def _times(row: OperatorTime | ModuleTime) -> tuple[object, ...]:
    return row.name, row.calls, row.host_s, row.host_self_s, row.device_s, None
