"""``trace`` for people: the share of the shift first, then where the time and the memory went."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from s2mlp_cli import units
from s2mlp_cli.records.trace import TraceRecord, TraceResult
from s2mlp_cli.render.sheets import Sheet
from s2mlp_cli.render.tables import HouseTable

ROWS = 10
"""Of each table; the record has them all."""

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


def _views(result: TraceResult) -> list[RenderableType]:
    device = bool(result.kernels)
    views = [
        _table(
            "scopes",
            ("scope", "calls", "ms", "% of model"),
            [(row.name, row.calls, _ms(row.seconds), _percent(row.share)) for row in result.scopes],
        ),
        _table(
            "operators, by own time",
            ("operator", "calls", "own ms", "total ms", *(("GPU ms",) if device else ())),
            [
                (row.name, row.calls, _ms(row.host_self_s), _ms(row.host_s))
                + ((_ms(row.device_self_s),) if device else ())
                for row in result.operators
            ],
        ),
        _table(
            "kernels",
            ("kernel", "calls", "ms", "mean ms"),
            [(row.name, row.calls, _ms(row.total_s), _ms(row.mean_s)) for row in result.kernels],
        ),
        _table(
            "modules",
            ("module", "calls", "own ms", "total ms"),
            [
                ("  " * row.depth + row.name, row.calls, _ms(row.host_self_s), _ms(row.host_s))
                for row in result.modules
            ],
        ),
        _table(
            "memory, by allocated bytes",
            ("operator", "device", "calls", "own MiB"),
            [
                (row.name, row.device, row.calls, _mib(row.self_allocated_bytes))
                for row in sorted(result.memory, key=lambda row: -row.self_allocated_bytes)
            ],
        ),
    ]
    advice: list[RenderableType] = [
        Text(f"! {text}", style="warn") for text in result.recommendations
    ]
    return [*(view for view in views if view is not None), *advice]


def _table(title: str, header: Sequence[str], rows: Sequence[tuple[object, ...]]) -> Group | None:
    """Return the first rows under a title that says how many there are; None without rows."""
    if not rows:
        return None
    shown = f"{title} (first {ROWS} of {len(rows)})" if len(rows) > ROWS else title
    table = HouseTable(box=None, pad_edge=False, header_style="quiet")
    for index, name in enumerate(header):
        first = index == 0
        table.add_column(
            name,
            justify="left" if first else "right",
            overflow="ellipsis" if first else "fold",
            no_wrap=True,
            max_width=48 if first else None,
        )
    for row in rows[:ROWS]:
        table.add_row(*map(str, row))
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
    rows: list[tuple[object, ...]] = []
    for result in record.results:
        run = result.run
        rows += [
            (run, "scope", row.name, row.calls, row.seconds, None, None, row.share)
            for row in result.scopes
        ]
        rows += [
            (run, "operator", row.name, row.calls, row.host_s, row.host_self_s, row.device_s, None)
            for row in result.operators
        ]
        rows += [
            (run, "kernel", row.name, row.calls, None, None, row.total_s, None)
            for row in result.kernels
        ]
        rows += [
            (run, "module", row.name, row.calls, row.host_s, row.host_self_s, row.device_s, None)
            for row in result.modules
        ]
    return Sheet(header, tuple(rows))
