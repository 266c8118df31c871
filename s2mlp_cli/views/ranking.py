"""Which rows of a profile are the fastest, and which cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from s2mlp_cli.records.profile import ProfileResult
from s2mlp_cli.records.profile_rows import implementation, options


def not_told_apart(fastest: ProfileResult, rows: Iterable[ProfileResult]) -> list[str]:
    """Return the implementations that may be as fast: the intervals to ``slice`` touch.

    Of many that are alike the smallest median is luck, so that a fastest one needs its company.
    """
    least, _ = _to_slice(fastest)
    return [
        implementation(row)
        for row in rows
        if implementation(row) != implementation(fastest) and _to_slice(row)[1] >= least
    ]


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
    """Return the whole models that ran alike, the fastest first, for each way in which some did.

    Alike: on one device, in one type, mode and batch, with the same options. A model is ranked
    by the fastest of its implementations that are correct.
    """
    groups: dict[tuple[object, ...], dict[str, ProfileResult]] = {}
    for row in rows:
        if row.level == "model" and row.images_per_s and not row.reference:
            best = groups.setdefault(_alike(row), {})
            best[row.model] = max(best.get(row.model, row), row, key=_speed)
    return [
        _ranked(sorted(models.values(), key=_speed, reverse=True))
        for models in groups.values()
        if len(models) > 1
    ]


def _alike(row: ProfileResult) -> tuple[object, ...]:
    return (row.device, row.dtype, row.batch_size, row.mode, *options(row))


def _speed(row: ProfileResult) -> float:
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
