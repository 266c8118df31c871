"""Which implementations and which models are the fastest, and which cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from s2mlp_cli import units
from s2mlp_cli.records.base import REFERENCE
from s2mlp_cli.records.profile import TORCH, ProfileResult
from s2mlp_cli.records.profile_rows import implementation, peak_bytes, setting
from s2mlp_cli.views.document import Column, Number, Table, measured, percentage


def not_told_apart(fastest: ProfileResult, others: Iterable[ProfileResult]) -> list[ProfileResult]:
    """Return the rows that may be as fast: the intervals of the speeds relative to ``slice`` touch.

    Of many that are alike the smallest median is luck, so that a fastest one needs its company.
    """
    least, _ = _to_slice(fastest)
    return [row for row in others if _to_slice(row)[1] >= least]


def _to_slice(row: ProfileResult) -> tuple[float, float]:
    """Return the ends of the speed relative to ``slice``; of what is not known, all that can be."""
    if row.is_baseline:
        return 1.0, 1.0
    ratio = row.ratio_to_slice
    return ratio.ci95 if ratio and ratio.ci95 else (0.0, math.inf)


def rate_interval(row: ProfileResult) -> tuple[float, float] | None:
    """Return the 95 % interval of the images per second."""
    return (row.batch_size / row.ci95_s[1], row.batch_size / row.ci95_s[0]) if row.ci95_s else None


class Ranked(NamedTuple):
    """A model among others; those that the intervals do not tell apart share a rank."""

    rank: int
    row: ProfileResult


def rankings(rows: Iterable[ProfileResult]) -> list[list[Ranked]]:
    """Return the whole models that ran alike, the fastest first, for each way in which some did."""
    return [
        _ranked(sorted(models.values(), key=rate, reverse=True))
        for models in fastest_rows(rows).values()
        if len(models) > 1
    ]


def fastest_rows(rows: Iterable[ProfileResult]) -> dict[str, dict[str, ProfileResult]]:
    """Return way -> model -> the fastest of its implementations that are correct."""
    ways: dict[str, dict[str, ProfileResult]] = {}
    for row in rows:
        competes = row.level == "model" and row.shift != REFERENCE and not row.reference
        if competes and row.images_per_s:
            best = ways.setdefault(way(row), {})
            best[row.model] = max(best.get(row.model, row), row, key=rate)
    return ways


def way(row: ProfileResult) -> str:
    """Return how a model ran, beside its image size: ``cpu, fp32, batch 8, 2 threads``."""
    return setting(row, size=False)


def rate(row: ProfileResult) -> float:
    """Return the images per second."""
    return row.images_per_s or 0.0


def _ranked(rows: list[ProfileResult]) -> list[Ranked]:
    ranked = [Ranked(1, rows[0])]
    for place, row in enumerate(rows[1:], 2):
        before = ranked[-1]
        ranked.append(Ranked(place if _surely_faster(before.row, row) else before.rank, row))
    return ranked


def _surely_faster(fast: ProfileResult, slow: ProfileResult) -> bool:
    """Whether the intervals of the two speeds do not touch."""
    one, other = rate_interval(fast), rate_interval(slow)
    return one is not None and other is not None and one[0] > other[1]


def ranking_answer(ranked: Sequence[Ranked]) -> str:
    """Say which models are the fastest, and how far the slowest is behind."""
    first, last = ranked[0].row, ranked[-1].row
    best = [row.model for rank, row in ranked if rank == 1]
    won = f"no winner among {', '.join(best)}" if len(best) > 1 else f"{best[0]} is the fastest"
    slowest = f"{units.significant(rate(last))} ({100 * rate(last) / rate(first):.3g} % of it)"
    return (
        f"{len(ranked)} models ({way(first)}): {won}, {units.significant(rate(first))} images/s"
        + (f"; slowest: {last.model}, {slowest}." if len(best) < len(ranked) else ".")
    )


def ranking_table(ranked: Sequence[Ranked]) -> Table:
    """Return a row for each model, the fastest first."""
    first = ranked[0].row
    return Table(
        caption=f"Models, the fastest first: {way(first)}",
        columns=(
            Column("Model"),
            Column("Rank", numeric=True),
            Column("Shift"),
            Column("images/s", numeric=True),
            Column("95\u00a0%", numeric=True, beside=True),
            percentage("of first"),
            percentage("of matmul"),
            Number("Peak", unit="MiB", scale=2**20),
        ),
        rows=tuple(
            (
                row.model,
                rank,
                implementation(row) if row.runtime != TORCH else row.shift,
                *measured(row.images_per_s, rate_interval(row), bar=rate(row) / rate(first)),
                rate(row) / rate(first),
                row.matmul_fraction,
                peak_bytes(row),
            )
            for rank, row in ranked
        ),
        note="Models whose 95 % intervals overlap share a rank. They were timed one after another: "
        "intervals do not account for changes of the machine between models.",
    )
