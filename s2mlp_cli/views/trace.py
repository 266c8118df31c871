"""``trace``: the share of the shift first, then where the time and the memory went."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from s2mlp_cli import units
from s2mlp_cli.records.trace import ModuleTime, OperatorTime, TracedCase, TraceRecord, TraceResult
from s2mlp_cli.views.document import (
    Column,
    Number,
    Picture,
    Sheet,
    Table,
    View,
    listed,
    percentage,
)
from s2mlp_cli.views.svg import bars

# Rows that a terminal shows of a long table, and scopes in the picture.
_ROWS, _SCOPES = 10, 16


def view(record: TraceRecord) -> View:
    """Return the view."""
    runs, common = _names(record.results)
    named = list(zip(runs, record.results, strict=True))
    return View(
        title="Where the time of a traced run goes: "
        + ", ".join(filter(None, (listed(runs, "runs"), common))),
        answers=tuple(
            _answer(f"{name} ({common})" if common else name, result) for name, result in named
        )
        or ("The trace has no run.",),
        pictures=partial(_pictures, named),
        tables=tuple(
            table
            for name, result in named
            for table in _tables(result, f"{name}: " if len(runs) > 1 else "")
        ),
        warnings=tuple(text for result in record.results for text in result.recommendations),
        remarks=(
            "Tracing slows everything down unevenly: for timings use `s2mlp profile`.",
            "All times are milliseconds per run of the model.",
        ),
    )


def _names(results: Sequence[TraceResult]) -> tuple[list[str], str]:
    """Return what to call each run, and what all of them have in common.

    A run is called by what was traced, ``conv`` beside ``slice``; one of an old trace, which does
    not say, by its folder.
    """
    cases = [result.case for result in results]
    if not cases or not all(cases):
        return _numbered([result.run for result in results]), ""
    words = [_words(case) for case in cases if case]
    same = [len(set(values)) == 1 for values in zip(*words, strict=True)]

    def told(each: Sequence[str], shared: bool) -> str:
        pairs = zip(each[1:], same[1:], strict=True)
        return ", ".join(word for word, common in pairs if word and common is shared)

    runs = [", ".join(filter(None, (each[0], told(each, shared=False)))) for each in words]
    return _numbered(runs), told(words[0], shared=True)


def _words(case: TracedCase) -> tuple[str, ...]:
    """Return the shift, and how it ran, in an order that is the same for all."""
    return (
        case.shift or "no shift",
        case.model,
        case.device,
        case.dtype,
        f"batch {case.batch_size}",
        "×".join(map(str, case.input_size)),
        case.mode if case.mode != "inference" else "",
        f"compiled by {case.compile}" if case.compile else "",
        case.compile_mode if case.compile_mode != "default" else "",
        "channels last" if case.channels_last else "",
    )


def _numbered(names: Sequence[str]) -> list[str]:
    """Tell runs of one name apart by their number."""
    return [
        name if names.count(name) == 1 else f"{name} #{names[:place].count(name) + 1}"
        for place, name in enumerate(names)
    ]


def _answer(name: str, result: TraceResult) -> str:
    """Answer how much of the model's time its shifts take."""
    if result.shift_share is None:
        share = "the trace has no scope of a shift alone"
    else:
        share = f"shifts are {units.significant(100 * result.shift_share, 3)} % of the model's time"
    step = f" ({units.seconds(result.step_s)} per run)" if result.step_s else ""
    return f"{name}: {share}{step}."


def _pictures(named: Sequence[tuple[str, TraceResult]]) -> Iterator[Picture]:
    """Yield one picture of all runs, so that they share an axis."""
    scopes = {
        name: {scope.name: scope.seconds / max(result.steps, 1) for scope in result.scopes}
        for name, result in named
        if result.scopes
    }
    if scopes:
        longest: dict[str, float] = {}
        for own in scopes.values():
            for name, seconds in own.items():
                longest[name] = max(longest.get(name, 0.0), seconds)
        shown = sorted(longest, key=lambda name: -longest[name])[:_SCOPES]
        values = {
            name: {run: 1e3 * own[name] for run, own in scopes.items() if name in own}
            for name in shown
        }
        yield Picture(
            name="scopes",
            description="Bars of the milliseconds per run inside each named scope, inner scopes "
            f"included; most is inside {shown[0]}.",
            drawing=bars.grouped(
                values,
                "ms per run, inner scopes included",
                title="Time by scope: " + listed(scopes, "runs"),
            ),
        )


Shown = tuple[Column, Callable[[Any], Any]]


def _name(title: str) -> Shown:
    return Column(title), lambda row: row.name


def _ms(title: str, field: str, steps: int, bar: bool = False) -> Shown:
    def read(row: Any) -> float | None:
        seconds: float | None = getattr(row, field)
        return None if seconds is None else seconds / steps

    return Number(title, unit="ms", scale=1e-3, bar=bar), read


def _calls(title: str, steps: int, field: str = "calls") -> Shown:
    column = Column(title, "{:.4g}".format, numeric=True)
    return column, lambda row: getattr(row, field) / steps


def _tables(result: TraceResult, of: str) -> Iterator[Table]:
    """Yield the tables of one run, all per run of the model; empty ones are left out."""
    steps = max(result.steps, 1)
    shown: dict[str, tuple[Sequence[Any], tuple[Shown, ...]]] = {
        "Scopes": (
            result.scopes,
            (
                _name("Scope"),
                _calls("Calls", steps),
                _ms("Time", "seconds", steps, bar=True),
                (percentage("of the model"), lambda scope: scope.share),
            ),
        ),
        "Operators, by own time": (
            result.operators,
            (
                _name("Operator"),
                _calls("Calls", steps),
                _ms("Own", "host_self_s", steps, bar=True),
                _ms("Total", "host_s", steps),
                _ms("GPU own", "device_self_s", steps, bar=True),
                _ms("GPU total", "device_s", steps),
            ),
        ),
        "Kernels": (
            result.kernels,
            (
                _name("Kernel"),
                _calls("Launches", steps),
                _ms("Total", "total_s", steps, bar=True),
                (Number("Mean", unit="µs", scale=1e-6), lambda kernel: kernel.mean_s),
            ),
        ),
        "Modules": (
            result.modules,
            (
                (Column("Module"), lambda module: "\u00a0\u00a0" * module.depth + module.name),
                _calls("Calls", steps),
                _ms("Own", "host_self_s", steps),
                _ms("Total", "host_s", steps, bar=True),
                _ms("GPU", "device_s", steps),
            ),
        ),
        "Memory, by allocated bytes": (
            sorted(result.memory, key=lambda row: -row.self_allocated_bytes),
            (
                _name("Operator"),
                (Column("Device", common="on {}"), lambda row: row.device),
                _calls("Allocations", steps, "allocations"),
                (Number("Allocated", unit="MiB", scale=2**20, bar=True),
                 lambda row: row.allocated_bytes / steps),
                (Number("by itself", unit="MiB", scale=2**20),
                 lambda row: row.self_allocated_bytes / steps),
            ),
        ),
    }  # fmt: skip
    for caption, (rows, columns) in shown.items():
        if rows:
            yield Table(
                caption=f"{of}{caption.lower()}" if of else caption,
                columns=tuple(column for column, _ in columns),
                rows=tuple(tuple(read(row) for _, read in columns) for row in rows),
                preview=None if caption == "Scopes" else _ROWS,
            )


def sheet(record: TraceRecord) -> Sheet:
    """Return the scopes, operators, kernels and modules of all runs, summed over their steps."""
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
