"""Before any timing: does this implementation compute the shift, on this device and shape?

What an implementation may be off is measured, not guessed: a float64 computation of the same case
tells how far the reference implementation itself is off by rounding, and a multiple of that is
allowed. A deep model in half precision rounds so much that a wrong shift could pass; therefore one
block of each stage is compared as well, where a wrong shift is off by many times what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from s2mlp_cli.measure.profiling.workloads import BlockCase, Case, Workload, build_workload, parts
from s2mlp_cli.records.base import REFERENCE
from s2mlp_cli.records.profile import Mode

# Largest difference over the largest element. The shift alone moves data: it is exact but for a
# product with ones and zeros.
OP_TOLERANCE = {"fp32": 1e-6, "tf32": 1e-6, "bf16": 1e-2, "fp16": 1e-3}

# So many times the reference's own rounding error are allowed to blocks and models: another order
# of sums, a fused pass or a compiler round differently, by up to twice as much where measured.
MULTIPLE = 8

# (at least, at most) allowed. The least is for tensors in which the reference happens to round
# little, the most for those in which rounding leaves little. One group of channels that moves in
# the wrong direction takes a block off by 0.13 to 0.21, in every dtype.
BLOCK_BOUNDS = {
    "fp32": (1e-6, 1e-4), "tf32": (1e-3, 1e-2), "bf16": (1e-2, 5e-2), "fp16": (1e-3, 1e-2)
}  # fmt: skip
MODEL_BOUNDS = {
    "fp32": (1e-6, 1e-2), "tf32": (1e-3, 0.2), "bf16": (1e-2, 0.9), "fp16": (1e-3, 0.3)
}  # fmt: skip

# The gradient of a weight is a sum over all positions, of which most cancels.
WEIGHT_BOUNDS = {
    "fp32": (1e-4, 1e-2), "tf32": (1e-2, 0.5), "bf16": (0.1, 0.9), "fp16": (0.1, 0.9)
}  # fmt: skip

# Images at a time in float64, which needs twice the memory and has no batch to fill.
_IMAGES = 4

# A batch is compared piece by piece: the doubles of a whole one might not fit beside it.
_PIECES = 16

_OF_WEIGHT = "gradient of the weight "

# What is compared, by name.
Results = dict[str, Tensor]


@dataclass(frozen=True)
class Check:
    """The largest relative difference to the reference, and the reason to skip if it is wrong."""

    error: float
    fault: str | None


class Checker:
    """Holds the reference's results for one case, and compares implementations with them."""

    def __init__(self, case: Case, reference: str = REFERENCE) -> None:
        self._case = case
        self._parts = [_Part(part, reference) for part in compared(case)]

    def check(self, shift: str | None, workload: Workload) -> Check:
        """Compare values; in training the gradients of the input and of every weight as well.

        Of several results, the one counts that is furthest off in units of what it may be off.

        Args:
            shift: the implementation.
            workload: the case with it.
        """
        found = [
            each
            for part in self._parts
            for each in part.differences(
                workload
                if part.case.level == self._case.level
                else build_workload(part.case, shift)
            )
        ]
        error, allowed, what = max(found, key=lambda each: each[0] / each[1])
        if error <= allowed:
            return Check(error, None)
        fault = f"wrong {what}: off the reference by {error:.2g}, {allowed:.1g} is allowed"
        return Check(error, fault)


class _Part:
    """One case in which an implementation must agree, with what the reference computes there."""

    def __init__(self, case: Case, name: str = REFERENCE) -> None:
        self.case = case
        # The reference is not to be trusted to a compiler.
        reference = build_workload(replace(case, compile=None), name)
        own = _results(reference, case.mode)
        self._expected = own if case.level == "op" else _in_float64(reference, case.mode)
        self._rounding = {
            what: relative_error(tensor, self._expected[what]) for what, tensor in own.items()
        }

    def differences(self, workload: Workload) -> Iterator[tuple[float, float, str]]:
        """Yield (how far each result is off, how far it may be, its name)."""
        for what, tensor in _results(workload, self.case.mode).items():
            yield relative_error(tensor, self._expected[what]), self.allowed(what), what

    def allowed(self, what: str) -> float:
        """Return the relative difference that is allowed in one result."""
        if self.case.level == "op":
            return OP_TOLERANCE[self.case.dtype]
        bounds = MODEL_BOUNDS if self.case.level == "model" else BLOCK_BOUNDS
        least, most = (WEIGHT_BOUNDS if what.startswith(_OF_WEIGHT) else bounds)[self.case.dtype]
        return min(max(MULTIPLE * self._rounding[what], least), most)


def compared(case: Case) -> tuple[Case, ...]:
    """Return what is compared for ``case``: itself; for a model also one block of each stage.

    The gradients of a whole model in half precision are rounding and nothing else: there the model
    is compared by its values, and its blocks by their gradients. The blocks are compiled where the
    model is compiled block by block: that is the same code.
    """
    if case.level != "model":
        return (case,)
    compile = case.compile if case.compile == "block" else None
    blocks = parts(replace(case, compile=compile, cuda_graph=False), BlockCase)
    whole = replace(case, mode="inference") if case.dtype in ("bf16", "fp16") else case
    return (whole, *blocks)


def _in_float64(workload: Workload, mode: Mode) -> Results:
    """Return the same from the same numbers in float64, a few images at a time.

    Of the images each has its own values and gradients; those of the weights are sums over all.
    """
    example = workload.example
    function = workload.function if workload.module is None else workload.module.double()
    pieces = [
        _results(
            replace(workload, function=function, example=few.double()),
            mode,
            _IMAGES * number,
            example.dtype,
        )
        for number, few in enumerate(torch.split(example, _IMAGES))
    ]
    return {
        what: torch.stack(tensors).sum(0) if what.startswith(_OF_WEIGHT) else torch.cat(tensors)
        for what in pieces[0]
        if (tensors := [piece[what] for piece in pieces])
    }


def _results(
    workload: Workload, mode: Mode, start: int = 0, dtype: torch.dtype | None = None
) -> Results:
    """Return the values; in training also the gradients of the input and of every weight.

    Args:
        workload: what computes them.
        mode: inference or training.
        start: number of its first image in the batch.
        dtype: to which the gradient of the output is rounded, if not its own.
    """
    if mode == "inference":
        with torch.inference_mode():
            return {"values": workload.function(workload.example)}
    leaf = workload.example.detach().clone().requires_grad_()
    values = workload.function(leaf)
    weights = {} if workload.module is None else dict(workload.module.named_parameters())
    gradients = torch.autograd.grad(
        values,
        [leaf, *weights.values()],
        _upstream(values, start, dtype or values.dtype),
        materialize_grads=True,  # a gradient that an implementation loses is zero, and wrong
    )
    names = ("gradient of the input", *(_OF_WEIGHT + name for name in weights))
    return {"values": values.detach(), **dict(zip(names, gradients, strict=True))}


def _upstream(values: Tensor, start: int, dtype: torch.dtype) -> Tensor:
    """Return a gradient of the output that differs everywhere, so that a wrong route shows.

    Image ``start`` of a batch has the same one whether it comes alone or with the others; rounded
    to ``dtype``, it is the same number in every precision.
    """
    rows = [
        torch.randn(values.shape[1:], generator=torch.Generator().manual_seed(1 + start + index))
        for index in range(len(values))
    ]
    return torch.stack(rows).to(dtype).to(values)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return ``max |found - expected| / max |expected|``; infinite for a NaN or another shape."""
    if found.shape != expected.shape:
        return math.inf
    pieces = zip(found.chunk(_PIECES), expected.chunk(_PIECES), strict=True)
    difference = torch.stack([(a.double() - b.double()).abs().max() for a, b in pieces]).max()
    error = float(difference / expected.abs().max().double().clamp_min(1e-30))
    return math.inf if math.isnan(error) else error
