"""What the shifts cost: every contender in turn, round after round, reported as paired ratios.

    python benchmarks/fused_mixers.py --device cpu -o fused_mixers_cpu.json
    python benchmarks/fused_mixers.py --device cuda --compile -o fused_mixers_cuda.json

Goals, of medians of ratios taken inside one round, so that a machine that drifts slows both sides:

- CPU (2 cores, fp32, batch 8): v2-small with ``fused`` at most 1.02 times its time without shifts
  (``none``), and ``slice`` at least 1.15 times the time of ``fused``.
- GPU (bf16, batch 256): v2-medium with the best mixer kernel at least 2.0 times as fast as the best
  of slice, roll, conv and deform in eager mode, 1.3 times as the best of them compiled, at most
  1.02 times the model without shifts, above half of the matrix-product rate; the mixer's peak
  memory at most half of slice's; v1-wide likewise for time. The ``triton`` shift at least 90 % of
  the bandwidth of a clone.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s2mlp_cli import statistics
from s2mlp_cli.errors import S2MLPError
from s2mlp_cli.measure.environment import environment
from s2mlp_cli.measure.profiling.contenders import fresh_compiler
from s2mlp_cli.measure.profiling.device import Device, measure_roofline, open_device
from s2mlp_cli.models import build_model, set_shift
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import load_spec

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CPU_TIME = "--cpu-time"
KERNELS = ("fused", "fused-triton", "fused-project")
CPU = {
    "dtype": "fp32",
    "models": (("v2-small", 8),),
    "shifts": ("slice", "none", "fused"),
}
CUDA = {
    "dtype": "bf16",
    "models": (("v2-medium", 256), ("v1-wide", 256)),
    "shifts": (*registry.SOURCE, "none", *KERNELS),
}

# These compute something else, on purpose.
WRONG_BY_DESIGN = ("none", "products", "products only", "clone")
# Largest difference to ``slice``, relative to its largest value; whole models round in half types.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.3}

Run = Callable[[], object]
Save = Callable[[dict[str, Any]], None]


def cpu_seconds(run: Run) -> float:
    """Return the processor time of one call: other programs of a busy machine stay out of it."""
    start = time.process_time()
    run()
    return time.process_time() - start


def fault(name: str, run: Run, expected: torch.Tensor | None) -> str | None:
    """Return how a contender's result differs from the baseline's: a wrong one may be fast."""
    found = run()
    if expected is None or name.split("+", maxsplit=1)[0] in WRONG_BY_DESIGN:
        return None
    assert isinstance(found, torch.Tensor)
    error = float((found.double() - expected).abs().max() / expected.abs().max())
    allowed = TOLERANCES[found.dtype]
    return f"off the baseline by {error:.2g}, {allowed:g} is allowed" if error > allowed else None


def rounds_of(device: Device, runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Time all contenders once per round, each round beginning with another of them.

    One that cannot run (a kernel refuses, the compiler fails) or computes something else than
    ``slice`` is left out, and said to be.
    """
    expected = runs["slice"]() if "slice" in runs else None
    expected = expected.double() if isinstance(expected, torch.Tensor) else None
    samples: dict[str, list[float]] = {}
    take = cpu_seconds if CPU_TIME in sys.argv else partial(device.seconds, calls=1, cold=False)
    for name, run in runs.items():
        try:
            wrong = fault(name, run, expected)  # compiles and tunes as well
            if wrong:
                print(f"  left out: {name}: {wrong}", file=sys.stderr)
                continue
            take(run)
            samples[name] = []
        except (S2MLPError, RuntimeError) as error:
            print(f"  left out: {name}: {str(error).splitlines()[0]}", file=sys.stderr)
    names = list(samples)
    for turn in range(rounds):
        for offset in range(len(names)):
            name = names[(turn + offset) % len(names)]
            samples[name].append(take(runs[name]))
    return samples


def summary(samples: dict[str, list[float]]) -> dict[str, Any]:
    """Return raw samples, medians, and every contender's time over that of every kernel."""
    ratios = {
        f"{other}/{name}": vars(statistics.paired_ratio(samples[other], samples[name]))
        for name in samples
        if name.split("+")[0] in KERNELS
        for other in samples
        if other != name
    }
    medians = {name: vars(statistics.median(own)) for name, own in samples.items()}
    return {"median_s": medians, "ratios": ratios, "samples_s": samples}


def contenders(model: nn.Module, shifts: tuple[str, ...], compiled: bool) -> dict[str, nn.Module]:
    """Return one copy of ``model`` per implementation; the weights are shared."""
    made: dict[str, nn.Module] = {}
    for shift in shifts:
        memo = {id(parameter): parameter for parameter in model.parameters()}
        made[shift] = copy.deepcopy(model, memo)
        set_shift(made[shift], shift)
        if compiled:
            made[f"{shift}+compile"] = torch.compile(made[shift])
    return made


def whole_model(
    device: Device, name: str, batch: int, settings: Any, compiled: bool, rounds: int
) -> dict[str, Any]:
    """Time one model with every implementation."""
    spec = load_spec(name)
    kind = {"device": device.torch_device, "dtype": DTYPES[settings["dtype"]]}
    images = torch.randn(batch, 3, *spec.input_size, **kind)
    models = contenders(build_model(spec).to(**kind), settings["shifts"], compiled)
    runs: dict[str, Run] = {label: partial(own, images) for label, own in models.items()}
    # The compiler's limit of eight versions of one code is shared by all contenders of a process.
    with fresh_compiler() if compiled else nullcontext():
        samples = rounds_of(device, runs, rounds)
    return {"model": name, "batch_size": batch, **summary(samples)}


def first_mixers(model: nn.Module) -> dict[tuple[int, ...], SpatialShiftMixer]:
    """Return the first mixer of every stage by its number of channels."""
    found: dict[tuple[int, ...], SpatialShiftMixer] = {}
    for module in model.modules():
        if isinstance(module, SpatialShiftMixer):
            found.setdefault((module.project.in_features,), module)
    return found


def products_only(mixer: SpatialShiftMixer, x: torch.Tensor) -> Run:
    """Return the mixer's two matrix products with nothing between: a floor for all but one kernel.

    (``fused-project`` does not write the expanded map.)
    """
    channels = x.shape[-1]
    return lambda: mixer.project(mixer.expand(x)[..., :channels])


def single_mixers(
    device: Device, name: str, batch: int, settings: Any, rounds: int
) -> list[dict[str, Any]]:
    """Time and weigh one mixer of each stage on a random map."""
    spec = load_spec(name)
    kind = {"device": device.torch_device, "dtype": DTYPES[settings["dtype"]]}
    model, rows = build_model(spec).to(**kind), []
    for mixer, size in zip(first_mixers(model).values(), spec.maps(), strict=True):
        x = torch.randn(batch, *size, mixer.project.in_features, **kind)
        made = contenders(mixer, settings["shifts"], compiled=False)
        runs: dict[str, Run] = {label: partial(own, x) for label, own in made.items()}
        runs["products only"] = products_only(mixer, x)
        samples = rounds_of(device, runs, rounds)
        peaks = {label: device.peak(runs[label]) for label in samples}
        rows.append(
            {
                "model": name,
                "map": list(x.shape),
                **summary(samples),
                "peak_bytes": {label: peak and peak.allocated for label, peak in peaks.items()},
            }
        )
    return rows


def stand_alone(device: Device, settings: Any, rounds: int) -> list[dict[str, Any]]:
    """Time the stand-alone shifts of the models' maps against a clone of the same map."""
    rows = []
    for name, batch in settings["models"]:
        spec = load_spec(name)
        directions = spec.mixer.splits[0]
        for stage, size in zip(spec.stages, spec.maps(), strict=True):
            for dtype in dict.fromkeys(("fp32", settings["dtype"])):
                x = torch.randn(batch, *size, stage.dim, device=device.torch_device)
                x = x.to(DTYPES[dtype])
                runs: dict[str, Run] = {"clone": x.clone}
                for shift in ("slice", "triton"):
                    if registry.get(shift).unavailable(device.torch_device) is None:
                        runs[shift] = partial(registry.get(shift).run, x, directions)
                samples = rounds_of(device, runs, rounds)
                moved = 2 * x.numel() * x.element_size()
                rows.append(
                    {
                        "map": list(x.shape),
                        "dtype": dtype,
                        "bytes_per_s": {
                            n: moved / statistics.median(s).value for n, s in samples.items()
                        },
                        "clone_over": {
                            n: vars(statistics.paired_ratio(samples["clone"], s))
                            for n, s in samples.items()
                            if n != "clone"
                        },
                    }
                )
    return rows


def measure(device: Device, compiled: bool, rounds: int, save: Save) -> dict[str, Any]:
    """Run everything that this device is asked for; save after each part."""
    settings = CUDA if device.torch_device.type == "cuda" else CPU
    document: dict[str, Any] = {
        "device": str(device.torch_device),
        "dtype": settings["dtype"],
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "command": sys.argv,
        "environment": environment().model_dump(mode="json"),
        "limits": measure_roofline(device, settings["dtype"]).model_dump(mode="json"),
        "load_before": os.getloadavg(),
        "models": [],
        "mixers": [],
        "stand_alone": [],
    }
    with torch.inference_mode():
        for name, batch in settings["models"]:
            row = whole_model(device, name, batch, settings, compiled, rounds)
            document["models"].append(row)
            save(document)
            document["mixers"] += single_mixers(device, name, batch, settings, rounds)
            save(document)
        document["stand_alone"] = stand_alone(device, settings, rounds)
    document["load_after"] = os.getloadavg()
    save(document)
    return document


def show(document: dict[str, Any]) -> None:
    """Print the ratios to the fused forms."""
    for row in [*document["models"], *document["mixers"]]:
        print(row["model"], row.get("map", row.get("batch_size")))
        for pair, ratio in row["ratios"].items():
            print(f"  {pair:32} {ratio['value']:.3f}  [{ratio['low']:.3f}, {ratio['high']:.3f}]")


def main() -> None:
    """Measure, save one JSON document, and print its ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=25, help="at least 6, for an interval")
    parser.add_argument("--compile", action="store_true", help="also every model compiled")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; default: all cores")
    parser.add_argument(
        CPU_TIME, action="store_true", help="processor time, not wall time: for a busy machine"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()

    def save(document: dict[str, Any]) -> None:
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    device = open_device(arguments.device)
    show(measure(device, arguments.compile, max(arguments.rounds, 6), save))


if __name__ == "__main__":
    main()
