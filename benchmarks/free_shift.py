"""Is the shift free on a CPU, eager and compiled? Whole models, interleaved, as paired ratios.

    python benchmarks/free_shift.py -o reports/benchmarks/free_shift.json

Six cases: v2-small, v2-medium and v1-wide at batch 8 and 1, float32. In each, every implementation
runs eager and compiled block by block; a round times all of them once, in random order, so that
drift divides out of the ratios. ``slice-0.1.0`` is ``slice`` as version 0.1.0 ran it: a residual
stream in the convolution's strides, and a stack of the maps under the compiler too.

On two quiet cores a case compiles for 2 to 3 minutes and is timed for at most ``--max-time``
(default 240 s): 40 minutes for all. The file is written after each case; the same command with a
file that exists goes on with the cases that are missing. ``--cases v2-small:8`` runs one.

Goals, v2-small at batch 8: ``fused`` at least 1.10 times as fast as ``slice-0.1.0`` eager, 1.15
times compiled; compiled ``concat`` and ``fused`` within 2 % of ``none``. ``concat`` may be the
default where no 95 % interval of its ratio to ``slice`` is wholly below 1.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import random
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2mlp_cli import statistics
from s2mlp_cli.measure.environment import environment
from s2mlp_cli.models import build_model, set_shift
from s2mlp_cli.models.layers import Block, PatchLayer
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import load_spec

OLD = "slice-0.1.0"
CASES = "v2-small:8,v2-small:1,v2-medium:8,v2-medium:1,v1-wide:8,v1-wide:1"
SHIFTS = ("slice", "concat", "fused", "roll", "conv", "deform", "gather", "oracle")
FLOORS = ("none", "products")
BASES = (OLD, "slice", "none", "products")
# Logits may differ by the order of float32 sums, relative to the largest.
TOLERANCE = 1e-3


def as_in_0_1_0(model: nn.Module) -> nn.Module:
    """Take the contiguous stream out of a model of slices, and stack its maps in every mode."""

    def patches(self: PatchLayer, x: Tensor) -> Tensor:
        embedded: Tensor = self.norm(self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return embedded

    def fuse(self: SpatialShiftMixer, maps: list[Tensor]) -> Tensor:
        fusion = self.attention or self.mean
        fused: Tensor = fusion(torch.stack(maps, dim=1)) if fusion is not None else maps[0]
        return fused

    for module in model.modules():
        if isinstance(module, PatchLayer):
            module.forward = types.MethodType(patches, module)  # type: ignore[method-assign]
        elif isinstance(module, SpatialShiftMixer):
            module._fuse = types.MethodType(fuse, module)  # type: ignore[method-assign]
    return model


def compile_blocks(model: nn.Module) -> nn.Module:
    """Compile each block in place; equal blocks of a contender share one compilation.

    The compiler keeps what it made with the code of the function: a copy of the code keeps the
    contenders apart, or each call would look through the guards of all the others.
    """
    code = Block.forward.__code__.replace(co_name="forward_of_one_contender")
    forward = types.FunctionType(code, Block.forward.__globals__)
    compiled = torch.compile(forward, fullgraph=True, dynamic=False)
    for module in model.modules():
        if isinstance(module, Block):
            module.forward = types.MethodType(compiled, module)  # type: ignore[method-assign]
    return model


def contenders(name: str, shifts: tuple[str, ...]) -> dict[str, nn.Module]:
    """Return every implementation eager and compiled; all share one set of weights."""
    model = build_model(load_spec(name), "slice")
    made: dict[str, nn.Module] = {}
    for shift in (OLD, *shifts, *FLOORS):
        for mode in ("eager", "compiled"):
            shared = {id(parameter): parameter for parameter in model.parameters()}
            own = copy.deepcopy(model, shared)
            set_shift(own, "slice" if shift == OLD else shift)
            own = as_in_0_1_0(own) if shift == OLD else own
            made[f"{shift} {mode}"] = compile_blocks(own) if mode == "compiled" else own
    return made


def warm(models: dict[str, nn.Module], images: Tensor) -> dict[str, float]:
    """Run each once, which compiles; check its logits; return the seconds that it took."""
    took: dict[str, float] = {}
    expected = models["slice eager"](images)
    for label, model in models.items():
        start = time.perf_counter()
        logits = model(images)
        took[label] = time.perf_counter() - start
        print(f"  {label}: first call {took[label]:.1f} s", file=sys.stderr)
        error = float((logits - expected).abs().max() / expected.abs().max())
        if label.split()[0] not in FLOORS and error > TOLERANCE:
            raise SystemExit(f"{label} is off by {error:.1e}: nothing was timed")
        model(images)
    return took


def rounds(models: dict[str, nn.Module], images: Tensor, max_time: float) -> dict[str, list[float]]:
    """Time each model once a round until the time is over, for at least six rounds."""
    samples: dict[str, list[float]] = {label: [] for label in models}
    order, shuffle, end = list(models), random.Random(0).shuffle, time.monotonic() + max_time
    gc.collect()
    gc.disable()
    while time.monotonic() < end or len(samples[order[0]]) < statistics.MIN_SAMPLES:
        shuffle(order)
        for label in order:
            start = time.perf_counter()
            models[label](images)
            samples[label].append(time.perf_counter() - start)
    gc.enable()
    return samples


def ratios(samples: dict[str, list[float]]) -> dict[str, Any]:
    """Return how many times as fast as each base every contender of the same mode is."""
    return {
        f"{label} over {base}": vars(statistics.paired_ratio(samples[f"{base} {mode}"], own))
        for label, own in samples.items()
        for name, mode in [label.rsplit(" ", 1)]
        for base in BASES
        if base != name
    }


def measure(case: str, shifts: tuple[str, ...], max_time: float) -> dict[str, Any]:
    """Measure one case, ``model:batch``."""
    name, batch = case.split(":")
    torch.manual_seed(0)
    torch._dynamo.reset()
    images = torch.randn(int(batch), 3, *load_spec(name).input_size)
    load = os.getloadavg()[0]
    with torch.inference_mode():
        models = contenders(name, shifts)
        took = warm(models, images)
        samples = rounds(models, images, max_time)
    return {
        "case": case,
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "first_call_s": took,
        "median_s": {label: vars(statistics.median(own)) for label, own in samples.items()},
        "ratios": ratios(samples),
        "samples_s": samples,
    }


def show(row: dict[str, Any]) -> None:
    """Print a table per mode: milliseconds, and times as fast as each base."""
    for mode in ("eager", "compiled"):
        print(f"\n{row['case']}, {mode}: times as fast as")
        print(f"  {'':14}{'ms':>8}" + "".join(f"{base:>24}" for base in BASES))
        for label, median in row["median_s"].items():
            name, own = label.rsplit(" ", 1)
            if own == mode:
                cells = [row["ratios"].get(f"{label} over {base}") for base in BASES]
                print(f"  {name:14}{1e3 * median['value']:8.1f}" + "".join(map(_cell, cells)))


def _cell(ratio: dict[str, float] | None) -> str:
    text = f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]" if ratio else "1"
    return f"{text:>24}"


def main() -> None:
    """Measure the cases that the file lacks, save after each, and print all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default=CASES, help="model:batch, with commas between")
    parser.add_argument("--shift", default=",".join(SHIFTS), help="contenders beside the floors")
    parser.add_argument("--max-time", type=float, default=240, help="seconds of rounds per case")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    given = parser.parse_args()
    shifts = tuple(dict.fromkeys(("slice", *registry.parse(given.shift))))
    document: dict[str, Any] = {"cases": []}
    if given.output.exists():
        document = json.loads(given.output.read_text(encoding="utf-8"))
    document["environment"] = environment().model_dump(mode="json")
    document["threads"] = torch.get_num_threads()
    for case in given.cases.split(","):
        if case not in {row["case"] for row in document["cases"]}:
            print(f"{case}", file=sys.stderr)
            document["cases"].append(measure(case, shifts, given.max_time))
            text = json.dumps(document, indent=1) + "\n"
            given.output.write_text(text, encoding="utf-8")
    for row in document["cases"]:
        show(row)


if __name__ == "__main__":
    main()
