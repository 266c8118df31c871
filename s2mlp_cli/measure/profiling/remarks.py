"""What a careful reader should know before believing a number, each with its remedy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from s2mlp_cli import statistics
from s2mlp_cli.measure.profiling.device import Telemetry

FEW_SAMPLES = 20
MANY_OUTLIERS = 0.05
LARGE_DRIFT = 0.05
MOVED_CLOCK = 0.05
MOVED_CELSIUS = 10.0
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


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


def machine_remarks(
    load: float | None = None, cpus: int | None = None, governor: str | None = None
) -> tuple[str, ...]:
    """Return what is doubtful about this machine before the run; arguments replace what it says."""
    load = _load() if load is None else load
    cpus = cpus or os.cpu_count() or 1
    governor = _governor() if governor is None else governor
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


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _governor() -> str:
    try:
        return _GOVERNOR.read_text().strip()
    except OSError:
        return ""
