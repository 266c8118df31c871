"""Several models on one device, the fastest first: the answer of a profile of families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from s2mlp_cli import units
from s2mlp_cli.records.profile import ProfileResult
from s2mlp_cli.records.profile_rows import Ranked, options, peak_bytes, rate_interval
from s2mlp_cli.views.tables import dense_table

NOTE = (
    "Models were timed one after another. Those that the 95 % intervals do not tell apart share a "
    "rank; what the machine did between the models is in no interval."
)


def sentence(ranked: Sequence[Ranked]) -> str:
    """Return which model is the fastest, if that is sure, and how far the slowest is behind it."""
    first, last = ranked[0].row, ranked[-1].row
    equals = sum(rank == 1 for rank, _ in ranked) - 1
    unsure = f", not told apart from {equals} other{'s' * (equals > 1)}" if equals else ""
    return (
        f"Fastest of {len(ranked)} models ({conditions(first)}): {first.model}, "
        f"{_speed(first)} images/s{unsure}; slowest: {last.model}, {_speed(last)} "
        f"({_percent(_part(last, first))} % of it)."
    )


def conditions(row: ProfileResult) -> str:
    """Return what all models of a ranking have in common: ``cpu, fp32, batch 8, inference``."""
    return ", ".join([row.device, row.dtype, f"batch {row.batch_size}", row.mode, *options(row)])


def terminal(ranked: Sequence[Ranked]) -> Iterator[RenderableType]:
    """Yield the table of one ranking."""
    first = ranked[0].row
    yield Text("models, the fastest first", style="key").append(
        f" · {conditions(first)}", style="quiet"
    )
    table = dense_table(
        "model", "rank", "shift", "images/s", "95 %", "% of first", "% of matmul", "peak MiB"
    )
    for rank, row in ranked:
        peak = peak_bytes(row)
        table.add_row(
            row.model, str(rank), row.shift or "", _speed(row), _interval(row),
            _percent(_part(row, first)),
            _percent(row.matmul_fraction),
            "" if peak is None else units.significant(peak / 2**20),
        )  # fmt: skip
    yield table
    yield Text(NOTE, style="quiet")


def _speed(row: ProfileResult) -> str:
    return units.significant(row.images_per_s or 0.0)


def _interval(row: ProfileResult) -> str:
    ends = rate_interval(row)
    return "–".join(units.significant(end, 3) for end in ends) if ends else ""


def _part(row: ProfileResult, first: ProfileResult) -> float:
    """Return a speed as a part of the fastest one's."""
    return (row.images_per_s or 0.0) / (first.images_per_s or 1.0)


def _percent(part: float | None) -> str:
    return "" if part is None else units.significant(100 * part, 3)
