"""From the samples of one case to its rows. Arithmetic only: no torch, no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from s2mlp_cli import statistics
from s2mlp_cli.measure.profiling.remarks import sample_remarks
from s2mlp_cli.records.profile import Limit, Measured, Memory, ProfileResult, Ratio

PERCENTILES = (50.0, 90.0, 99.0)
_ROW_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
# Products of a pass, over those of the forward pass alone: backward has two for each.
_BACKWARD = {"inference": 1, "training": 3}


@dataclass(frozen=True)
class Timed:
    """One implementation that was timed: its samples in seconds, one per round, at least one.

    ``remarks`` say what else is doubtful about them.
    """

    samples: tuple[float, ...]
    calls: int
    error: float | None = None
    reference: str | None = None
    memory: Memory | None = None
    remarks: tuple[str, ...] = ()


def timed_row(
    base: ProfileResult,
    timed: Timed,
    peers: Mapping[str | None, Sequence[float]],
    *,
    macs: int,
    limit: Limit | None,
) -> ProfileResult:
    """Complete ``base`` (which says what was measured) with all that the samples tell.

    Args:
        base: the row without measurements.
        timed: its samples.
        peers: the samples of ``slice`` and ``none`` in the same rounds, where they ran.
        macs: multiply-adds of the matrix products in one forward pass; 0 at ``op``.
        limit: the limits of the device in this dtype.
    """
    middle = statistics.median(timed.samples)
    p50, p90, p99 = statistics.percentiles(timed.samples, PERCENTILES)
    moved = _bytes_per_s(base, middle.value)
    rate = 2 * macs * _BACKWARD[base.mode] / middle.value if macs else None
    fields: dict[str, Any] = {
        "reference": timed.reference,
        "error": timed.error,
        "samples_s": timed.samples,
        "calls_per_sample": timed.calls,
        "median_s": middle.value,
        "ci95_s": interval(middle),
        "p50_s": p50,
        "p90_s": p90,
        "p99_s": p99,
        "images_per_s": None if base.level == "op" else base.batch_size / middle.value,
        "bytes_per_s": moved,
        "copy_fraction": _part(moved, limit.copy_bytes_per_s if limit else None),
        "matmul_fraction": _part(rate, limit.matmul_flops_per_s if limit else None),
        "memory": timed.memory,
        "warnings": (*sample_remarks(timed.samples), *timed.remarks),
        **_relations(timed.samples, peers),
    }
    return base.model_copy(update=fields)


def _relations(
    samples: Sequence[float], peers: Mapping[str | None, Sequence[float]]
) -> dict[str, Measured | None]:
    """Compare with the references, round by round, over the rounds that both finished."""
    relations: dict[str, Measured | None] = {}
    if peers.get("slice"):
        theirs, own = _same_rounds(peers["slice"], samples)
        ratio = statistics.paired_ratio(theirs, own)
        relations["ratio_to_slice"] = Ratio(value=ratio.value, ci95=interval(ratio))
    if peers.get("none"):
        theirs, own = _same_rounds(peers["none"], samples)
        cost = statistics.paired_difference(own, theirs)
        share = statistics.median([1 - bare / full for bare, full in zip(theirs, own, strict=True)])
        relations["cost_over_none_s"] = Measured(value=cost.value, ci95=interval(cost))
        relations["shift_share"] = Measured(value=share.value, ci95=interval(share))
    return relations


def _same_rounds(
    left: Sequence[float], right: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    rounds = min(len(left), len(right))
    return left[:rounds], right[:rounds]


def interval(estimate: statistics.Estimate) -> tuple[float, float] | None:
    """Return the ends of an estimate's interval, or None where it has none."""
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.low, estimate.high


def _bytes_per_s(base: ProfileResult, seconds: float) -> float | None:
    """One read and one write of the tensor; the backward pass of a shift is another of each."""
    if base.level != "op":
        return None
    passes = 1 if base.mode == "inference" else 2
    return 2 * passes * math.prod(base.shape) * _ROW_BYTES[base.dtype] / seconds


def _part(value: float | None, limit: float | None) -> float | None:
    return None if value is None or not limit else value / limit
