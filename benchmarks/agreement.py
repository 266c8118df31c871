"""Do our times agree with those of torch.utils.benchmark and of triton.testing.do_bench?

The same callable is measured by each in turn, many times over, in one run; the ratio of a turn to
ours is paired, so that drift divides out; turns are added until its interval is narrow. Ends with
1 if a median is off by over 3 %.

    python benchmarks/agreement.py [--device cuda] [--max-time 60]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch.utils import benchmark

from s2mlp_cli import statistics, units
from s2mlp_cli.measure.profiling.device import Device, Run, open_device
from s2mlp_cli.measure.profiling.workloads import BlockCase, OpCase, build_workload
from s2mlp_cli.measure.source import spec_model
from s2mlp_cli.specs import S2MLPSpec, load_spec

# Seconds of one call, as the mean of a number of calls.
Sample = Callable[[Device, Run, int], float]

ALLOWED = 0.03
# Of each turn: long enough for the clock, and for what each does before its first call not to
# matter; short enough for many turns.
SAMPLE_SECONDS = 0.05

# Of the interval at which turns end, once there are enough of them.
WIDTH = 0.02


def ours(device: Device, run: Run, calls: int) -> float:
    """Return a sample as `s2mlp profile --hot` takes it."""
    return device.seconds(run, calls, cold=False)


def ours_cold(device: Device, run: Run, calls: int) -> float:
    """Return a sample as `s2mlp profile` takes it of a shift on a GPU: with the cache flushed."""
    return device.seconds(run, calls, cold=True)


def torch_benchmark(device: Device, run: Run, calls: int) -> float:
    """Return a sample of torch.utils.benchmark, which synchronises a GPU after its loop."""
    timer = benchmark.Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return float(timer.timeit(calls).median)


def triton_do_bench(device: Device, run: Run, calls: int) -> float:
    """Return a sample of Triton's benchmark: events, with the cache flushed between calls."""
    from triton.testing import do_bench

    return float(do_bench(run, warmup=5, rep=20, return_mode="median")) / 1e3


def workloads(device: Device) -> dict[str, Run]:
    """Return the callables: a shift, a block, and a plain matrix product."""
    spec = load_spec("v2-small")
    assert isinstance(spec, S2MLPSpec)
    model = spec_model(spec)
    place = str(device.torch_device)
    batch = 64 if device.torch_device.type == "cuda" else 1
    cases = {
        "conv": OpCase(model=model, spec=spec, stage=0, device=place, batch_size=batch),
        "slice": BlockCase(model=model, spec=spec, stage=1, device=place, batch_size=batch),
    }
    runs = {f"{case.level} {name}": build_workload(case, name).run for name, case in cases.items()}
    matrix = torch.randn(768, 768, device=device.torch_device)
    return {**runs, "matrix product": lambda: matrix @ matrix}


def compare(
    device: Device, run: Run, ours: Sample, other: Sample, max_time: float
) -> tuple[float, statistics.Estimate, int]:
    """Return our median, the paired ratio of the other's time to ours, and the number of turns."""
    ours(device, run, 1)  # the first call loads libraries and kernels
    calls = max(round(SAMPLE_SECONDS / ours(device, run, 3)), 1)
    theirs: list[float] = []
    own: list[float] = []
    end = time.monotonic() + max_time
    while time.monotonic() < end:
        order = (ours, other) if len(own) % 2 else (other, ours)
        sample = {measure: measure(device, run, calls) for measure in order}
        theirs.append(sample[other])
        own.append(sample[ours])
        if len(own) % 50 == 0 and statistics.paired_ratio(theirs, own).relative_width < WIDTH:
            break
    return statistics.median(own).value, statistics.paired_ratio(theirs, own), len(own)


def main() -> int:
    """Print a line for each callable and each other benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device")
    parser.add_argument("--max-time", type=float, default=60, help="seconds per line")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    device = open_device(options.device)
    torch.set_num_threads(options.threads)
    pairs: list[tuple[Sample, Sample]] = [(ours, torch_benchmark)]
    if device.torch_device.type == "cuda":
        pairs.append((ours_cold, triton_do_bench))
    worst = 0.0
    with torch.inference_mode():
        for name, run in workloads(device).items():
            for own_sample, other in pairs:
                own, ratio, turns = compare(device, run, own_sample, other, options.max_time)
                worst = max(worst, abs(ratio.value - 1))
                print(
                    f"{name:15} {other.__name__:16} ours {units.seconds(own):>9}  theirs / ours "
                    f"{ratio.value:.4f} ({ratio.low:.4f} - {ratio.high:.4f}) in {turns} turns"
                )
    print(f"largest difference {worst:.1%}, {ALLOWED:.0%} is allowed")
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
