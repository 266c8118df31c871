"""How a row of a profile is spoken of: the same words in a report and in a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from s2mlp_cli.records.profile import Level, ProfileResult

LEVELS: dict[Level, str] = {"op": "shift alone", "block": "one block", "model": "whole model"}


def where(row: ProfileResult) -> str:
    """Return the model and the part of it that was timed: ``v2-small, one block of stage 0``."""
    stage = "" if row.stage is None else f" of stage {row.stage}"
    return f"{row.model}, {LEVELS[row.level]}{stage}"


def setting(row: ProfileResult, batch: bool = True, size: bool = True) -> str:
    """Return how it was run: ``cpu, fp32, batch 8, 224×224, 2 threads``."""
    words = [row.device, row.dtype]
    words += [f"batch {row.batch_size}"] if batch else []
    words += ["×".join(map(str, row.input_size))] if size else []
    words += [row.mode] if row.mode != "inference" else []
    return ", ".join([*words, *options(row)])


def options(row: ProfileResult) -> list[str]:
    """Return what was switched on, and a CPU's threads."""
    switches = {
        _compiled(row): row.compiled,
        "CUDA graph": row.cuda_graph,
        "channels last": row.channels_last,
        f"{row.threads} thread{'s' if row.threads > 1 else ''}": row.device == "cpu",
    }
    return [name for name, on in switches.items() if on]


def _compiled(row: ProfileResult) -> str:
    how = "block by block" if row.compile == "block" else "as a whole"
    mode = f" ({row.compile_mode})" if row.compile_mode not in (None, "default") else ""
    return f"compiled {how}{mode}" if row.level == "model" else f"compiled{mode}"


def implementation(row: ProfileResult) -> str:
    """Return the name of the shift; a model without shifts is timed as it is."""
    return row.shift or "no shift"


def peak_bytes(row: ProfileResult) -> int | None:
    """Return the peak that is known: what CUDA allocated, or a CPU process's resident set."""
    if row.memory is None:
        return None
    known = (row.memory.peak_allocated_bytes, row.memory.peak_rss_bytes)
    return next((value for value in known if value is not None), None)


def not_told_apart(fastest: ProfileResult, rows: Iterable[ProfileResult]) -> list[str]:
    """Return the implementations that may be as fast: the intervals to ``slice`` touch.

    Of many that are alike the smallest median is luck, so that a fastest one needs its company.
    """
    least, _ = _to_slice(fastest)
    return [
        implementation(row)
        for row in rows
        if row.shift != fastest.shift and _to_slice(row)[1] >= least
    ]


def _to_slice(row: ProfileResult) -> tuple[float, float]:
    """Return the ends of the speed relative to ``slice``; of what is not known, all that can be."""
    if row.shift == "slice":
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

    Alike: on one device, in one type, mode and batch, with the same options. A model stands there
    by the fastest of its implementations that compute what they should.
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
