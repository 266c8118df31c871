"""Before any timing: does this implementation compute the shift, on this device and shape?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from s2mlp_cli.measure.profiling.workloads import Case, Workload, build_workload
from s2mlp_cli.measure.torch_support import precision
from s2mlp_cli.specs import S2MLPSpec

# Largest difference to the oracle, over the oracle's largest element, by level and dtype.
#
# A shift moves data, so the operation alone is held to the rounding of its dtype. Blocks and models
# leave room for another order of sums; a wrong shift is off by a good part of the values
# themselves.
TOLERANCES = {
    "op": {"fp32": 1e-6, "tf32": 1e-6, "bf16": 1e-2, "fp16": 1e-3},
    "block": {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2},
    "model": {"fp32": 1e-4, "tf32": 2e-2, "bf16": 1e-1, "fp16": 2e-2},
}

# The same for the gradient of a weight: a sum over all positions, of which most cancels. In half
# precision that leaves few digits; a gradient that is lost or wrongly routed is off by all of it.
WEIGHT_TOLERANCES = {"fp32": 1e-3, "tf32": 1e-1, "bf16": 0.5, "fp16": 0.5}

# A deep model in half precision rounds away more than the table allows, by the definition too
# (v2-medium in bf16: 0.3). So many times the definition's own distance to float32 are allowed, ...
ROUNDINGS = 3

# ... but never this: what has nothing to do with the definition is off by 1 and more.
MOST_ALLOWED = 0.9

# Enough to see how a model rounds; float32 might not hold the whole batch.
_FEW_IMAGES = 4

# A batch is compared piece by piece: the doubles of a whole one might not fit beside it.
_PIECES = 16

_OF_WEIGHT = "gradient of the weight "

# What is compared, by name.
Results = dict[str, Tensor]


@dataclass(frozen=True)
class Check:
    """The largest relative difference to the oracle, and the reason to skip if it is too large."""

    error: float
    fault: str | None


class Checker:
    """Holds the oracle's results for one case, and compares implementations with them."""

    def __init__(self, case: Case) -> None:
        self._case = case
        # The definition is not to be trusted to a compiler.
        self._expected = {
            part: _results(part, build_workload(replace(part, compiled=False), "oracle"))
            for part in compared(case)
        }
        self._rounding = own_rounding(case)

    def check(self, shift: str | None, workload: Workload) -> Check:
        """Compare values; in training the gradients of the input and of every weight as well.

        Of several results, the one counts that is furthest from the definition in units of what
        is allowed of it.

        Args:
            shift: the implementation.
            workload: the case with it.
        """
        found = [
            (relative_error(tensor, expected[what]), self._allowed(part, what), what)
            for part, expected in self._expected.items()
            for what, tensor in _results(part, self._workload(part, shift, workload)).items()
        ]
        error, allowed, what = max(found, key=lambda one: one[0] / one[1])
        if error <= allowed:
            return Check(error, None)
        return Check(
            error, f"wrong {what}: off the definition by {error:.2g}, {allowed:.0e} is allowed"
        )

    def _workload(self, part: Case, shift: str | None, whole: Workload) -> Workload:
        return whole if part.level == self._case.level else build_workload(part, shift)

    def _allowed(self, part: Case, what: str) -> float:
        if what.startswith(_OF_WEIGHT):
            return WEIGHT_TOLERANCES[part.dtype]
        rounded = ROUNDINGS * self._rounding if part.level == "model" else 0.0
        return min(max(TOLERANCES[part.level][part.dtype], rounded), MOST_ALLOWED)


def compared(case: Case) -> tuple[Case, ...]:
    """Return what is compared for ``case``: itself, but not the gradients of a model in half.

    Those are rounding and nothing else: of v2-small in bf16, the definition's own are off by half
    from float32. There the model is asked for its values, and a block of each stage for gradients.
    """
    if case.mode == "inference" or case.level != "model" or case.dtype not in ("bf16", "fp16"):
        return (case,)
    assert isinstance(case.spec, S2MLPSpec)
    blocks = (
        replace(case, level="block", stage=stage, channels_last=False)
        for stage in range(len(case.spec.stages))
    )
    return (replace(case, mode="inference"), *blocks)


def own_rounding(case: Case) -> float:
    """Return how far rounding alone takes the values of a model by the definition; 0 for parts."""
    if case.level != "model" or case.dtype == "fp32":
        return 0.0
    few = min(case.batch_size, _FEW_IMAGES)
    rounded = replace(case, mode="inference", compiled=False, batch_size=few)
    own = _results(rounded, build_workload(rounded, "oracle"))["values"]
    with precision("fp32"):
        exact = replace(rounded, dtype="fp32")
        expected = _results(exact, build_workload(exact, "oracle"))["values"]
    return relative_error(own, expected)


def _results(case: Case, workload: Workload) -> Results:
    """Return the values; in training also the gradients of the input and of every weight."""
    if case.mode == "inference":
        with torch.inference_mode():
            return {"values": workload.function(workload.example)}
    leaf = workload.example.detach().clone().requires_grad_()
    values = workload.function(leaf)
    weights = dict(workload.module.named_parameters()) if workload.module else {}
    gradients = torch.autograd.grad(
        values,
        [leaf, *weights.values()],
        _upstream(values),
        materialize_grads=True,  # a gradient that an implementation loses is zero, and wrong
    )
    names = ("gradient of the input", *(_OF_WEIGHT + name for name in weights))
    return {"values": values.detach(), **dict(zip(names, gradients, strict=True))}


def _upstream(values: Tensor) -> Tensor:
    """Return a gradient of the output that differs everywhere, so that a wrong route shows."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(values.shape, generator=generator).to(values)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return ``max |found - expected| / max |expected|``; infinite for a NaN or another shape."""
    if found.shape != expected.shape:
        return math.inf
    pieces = zip(found.chunk(_PIECES), expected.chunk(_PIECES), strict=True)
    difference = torch.stack([(a.double() - b.double()).abs().max() for a, b in pieces]).max()
    error = float(difference / expected.abs().max().double().clamp_min(1e-30))
    return math.inf if math.isnan(error) else error
