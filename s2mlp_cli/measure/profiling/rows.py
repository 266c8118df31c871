"""From the samples of one case to its rows, with what is doubtful about them. No clock here."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from s2mlp_cli import statistics
from s2mlp_cli.measure.profiling.device import Telemetry
from s2mlp_cli.measure.profiling.workloads import Candidate, Case
from s2mlp_cli.measure.torch_support import DTYPES
from s2mlp_cli.records.base import BASELINE, changed
from s2mlp_cli.records.profile import TORCH, Measured, ProfileResult, Ratio, Roofline
from s2mlp_cli.shifts import registry

PERCENTILES = (50.0, 90.0, 99.0)
_ROW_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}
# Products of a pass, over those of the forward pass alone: backward has two for each.
_BACKWARD = {"inference": 1, "training": 3}

FEW_SAMPLES = 20
MANY_OUTLIERS = 0.05
LARGE_DRIFT = 0.05
MOVED_CLOCK = 0.05
MOVED_CELSIUS = 10.0
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def blank_row(case: Case, candidate: Candidate, threads: int) -> ProfileResult:
    """Return the row of ``case`` with nothing measured yet."""
    recorded = case.compile is not None or candidate.runtime != TORCH
    place, dtype = torch.device(case.device), DTYPES[case.dtype]
    return ProfileResult(
        model=case.model.name,
        shift=candidate.shift,
        level=case.level,
        stage=case.stage,
        device=case.device,
        dtype=candidate.precision or case.dtype,
        batch_size=case.batch_size,
        input_size=case.model.input_size,
        shape=case.shape,
        mode=case.mode,
        compiled=case.compile is not None,
        compile=case.compile,
        compile_mode=case.compile_mode if case.compile else None,
        cuda_graph=case.cuda_graph,
        channels_last=case.channels_last,
        threads=threads,
        runtime=candidate.runtime,
        source=case.model.source,
        form=registry.form(candidate.shift, place, dtype, recorded),
    )


def timed_row(
    row: ProfileResult,
    samples: Sequence[float],
    peers: Mapping[str | None, Sequence[float]],
    macs: int = 0,
    roofline: Roofline | None = None,
    remarks: tuple[str, ...] = (),
) -> ProfileResult:
    """Complete ``row`` (which says what was measured) with all that the samples tell.

    Args:
        row: the row without times.
        samples: seconds of a call, one per round, at least one.
        peers: of the same rounds, the samples of the baseline, and those of ``none`` and
            ``products`` in the same runtime, where they ran.
        macs: multiply-adds of the matrix products in one forward pass; 0 at ``op``.
        roofline: of the device in this dtype.
        remarks: what else is doubtful about the samples.
    """
    middle = statistics.median(samples)
    p50, p90, p99 = statistics.percentiles(samples, PERCENTILES)
    # One read and one write of the tensor; the backward pass of a shift is another of each.
    tensors = 2 if row.mode == "inference" else 4
    moved = (
        tensors * math.prod(row.shape) * _ROW_BYTES[row.dtype] / middle.value
        if row.level == "op"
        else None
    )
    rate = 2 * macs * _BACKWARD[row.mode] / middle.value if macs else None
    copy = roofline.copy_bytes_per_s if roofline else None
    product = roofline.matmul_flops_per_s if roofline else None
    bare = peers.get("none")
    return changed(
        row,
        samples_s=tuple(samples),
        median_s=middle.value,
        ci95_s=middle.interval,
        p50_s=p50,
        p90_s=p90,
        p99_s=p99,
        images_per_s=None if row.level == "op" else row.batch_size / middle.value,
        bytes_per_s=moved,
        copy_fraction=moved / copy if moved and copy else None,
        matmul_fraction=rate / product if rate and product else None,
        ratio_to_slice=_paired(Ratio, statistics.paired_ratio, peers.get(BASELINE), samples),
        cost_over_none_s=_paired(Measured, statistics.paired_difference, samples, bare),
        cost_over_products_s=_paired(
            Measured, statistics.paired_difference, samples, peers.get("products")
        ),
        shift_share=_paired(Measured, statistics.paired_saving, samples, bare),
        warnings=(*sample_remarks(samples), *row.warnings, *remarks),
    )


AnyMeasured = TypeVar("AnyMeasured", bound=Measured)


def _paired(
    kind: type[AnyMeasured],
    compare: Callable[[Sequence[float], Sequence[float]], statistics.Estimate],
    left: Sequence[float] | None,
    right: Sequence[float] | None,
) -> AnyMeasured | None:
    """Compare over the rounds that both finished; None where one did not run."""
    if not left or not right:
        return None
    rounds = min(len(left), len(right))
    found = compare(left[:rounds], right[:rounds])
    return kind(value=found.value, ci95=found.interval)


def sample_remarks(samples: Sequence[float]) -> tuple[str, ...]:
    """Return what is doubtful about one row's samples."""
    found = []
    if len(samples) < statistics.MIN_SAMPLES:
        found.append("under 6 samples give no 95 % interval: raise --max-time")
    elif len(samples) < FEW_SAMPLES:
        found.append(f"under {FEW_SAMPLES} samples, so p99 is the slowest one: raise --max-time")
    if statistics.outliers(samples) > MANY_OUTLIERS * len(samples):
        found.append("over 5 % outliers: close other programs, or look at p50 and p99 apart")
    if statistics.slow_first(samples):
        found.append("the first round was slow: raise --min-time, or run once more when warm")
    if len(samples) >= FEW_SAMPLES and abs(statistics.drift(samples)) > LARGE_DRIFT:
        found.append("the median drifted by over 5 %: trust the paired ratios, not the median")
    return tuple(found)


def machine_remarks() -> tuple[str, ...]:
    """Return what is doubtful about this machine before the run."""
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    governor = _GOVERNOR.read_text().strip() if _GOVERNOR.is_file() else ""
    found = []
    if load > 0.5 * cpus:
        found.append(
            f"the machine is busy (load {load:.1f} on {cpus} CPUs): wait, or close other programs"
        )
    if governor not in ("", "performance"):
        found.append(
            f"the CPU scales its frequency (governor {governor}): set the governor 'performance'"
        )
    return tuple(found)


def telemetry_remarks(before: Telemetry, after: Telemetry) -> tuple[str, ...]:
    """Return what moved in the hardware between two moments of a run."""
    found = []
    if before.clock_hz and after.clock_hz:
        moved = after.clock_hz / before.clock_hz - 1
        if abs(moved) > MOVED_CLOCK:
            found.append(f"the clock moved by {moved:+.0%} during the run: lock the clocks")
    if before.temperature_c is not None and after.temperature_c is not None:
        warmer = after.temperature_c - before.temperature_c
        if abs(warmer) > MOVED_CELSIUS:
            found.append(f"the temperature moved by {warmer:+.0f} °C during the run: warm up first")
    return tuple(found)
