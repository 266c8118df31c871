"""The section of a traced run: time by scope, then operators, kernels, modules and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from s2mlp_cli.records.trace import TraceRecord, TraceResult
from s2mlp_cli.views.document import Column, Number, Picture, Section, Table, listed
from s2mlp_cli.views.pictures import scopes
from s2mlp_cli.views.sections.answer import answer
from s2mlp_cli.views.sections.environment import facts

MOST_SCOPES = 16


def section(record: TraceRecord) -> Section:
    """Return the section."""
    return Section(
        title="Where the time of a traced run goes: "
        + listed((result.run for result in record.results), "runs"),
        answer=answer(record),
        pictures=tuple(_picture(result) for result in record.results if result.scopes),
        tables=tuple(table for result in record.results for table in _tables(result)),
        remarks=(
            "Tracing slows a run down: these times tell where time goes, not how much it is.",
            *(text for result in record.results for text in result.recommendations),
        ),
        facts=facts(record),
    )


def _picture(result: TraceResult) -> Picture:
    shown = sorted(result.scopes, key=lambda scope: -scope.seconds)[:MOST_SCOPES]
    return Picture(
        name=f"scopes-{result.run}",
        title=f"{result.run}: time by scope",
        description=f"Bars of the time inside each named scope; most is inside {shown[0].name}.",
        draw=partial(scopes.svg, [(scope.name, scope.seconds) for scope in shown]),
    )


def _name(title: str) -> tuple[Column, Callable[[Any], object]]:
    return Column(title), lambda row: row.name


def _milliseconds(title: str, field: str, bar: bool = False) -> tuple[Column, Callable[[Any], Any]]:
    column = Number(title, unit="ms", scale=1e-3, bar=bar)
    return column, lambda row: getattr(row, field)


def _calls(title: str = "Calls", field: str = "calls") -> tuple[Column, Callable[[Any], object]]:
    return Column(title, numeric=True), lambda row: getattr(row, field)


# View -> its columns, each with what it reads from a row.
_VIEWS = {
    "scopes": (
        _name("Scope"),
        _calls(),
        _milliseconds("Time", "seconds", bar=True),
        (
            Column("Share", lambda part: f"{100 * part:.1f}", "%", numeric=True),
            lambda scope: scope.share,
        ),
    ),
    "operators": (
        _name("Operator"),
        _calls(),
        _milliseconds("Host self", "host_self_s", bar=True),
        _milliseconds("Host", "host_s"),
        _milliseconds("Device self", "device_self_s", bar=True),
        _milliseconds("Device", "device_s"),
    ),
    "kernels": (
        _name("Kernel"),
        _calls("Launches"),
        _milliseconds("Total", "total_s", bar=True),
        (Number("Mean", unit="µs", scale=1e-6), lambda kernel: kernel.mean_s),
    ),
    "modules": (
        (Column("Module"), lambda module: "\u2003" * module.depth + module.name),
        _calls(),
        _milliseconds("Host", "host_s", bar=True),
        _milliseconds("Host self", "host_self_s"),
        _milliseconds("Device", "device_s"),
    ),
    "memory": (
        _name("Operator"),
        (Column("Device"), lambda row: row.device),
        _calls("Allocations", "allocations"),
        (
            Number("Allocated", unit="MiB", scale=2**20, bar=True),
            lambda row: row.allocated_bytes,
        ),
        (Number("by itself", unit="MiB", scale=2**20), lambda row: row.self_allocated_bytes),
    ),
}


def _tables(result: TraceResult) -> Iterator[Table]:
    for view, columns in _VIEWS.items():
        rows: Sequence[Any] = getattr(result, view)
        if rows:
            yield Table(
                caption=f"{result.run}: {view}",
                columns=tuple(column for column, _ in columns),
                rows=tuple(tuple(read(row) for _, read in columns) for row in rows),
                folded=view != "scopes",
            )
