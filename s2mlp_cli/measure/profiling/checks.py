"""Before any timing: does this implementation compute the shift, on this device and shape?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from s2mlp_cli.measure.profiling.workloads import Case, Workload, build_workload

TOLERANCES = {
    "op": {"fp32": 1e-6, "tf32": 1e-6, "bf16": 1e-2, "fp16": 1e-3},
    "block": {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2},
    "model": {"fp32": 1e-4, "tf32": 2e-2, "bf16": 1e-1, "fp16": 2e-2},
}
"""Largest difference to the oracle, over the oracle's largest element, by level and dtype.

A shift moves data, so the operation alone is held to the rounding of its dtype. Blocks and models
leave room for another order of sums; a wrong shift is off by a good part of the values themselves.
"""


@dataclass(frozen=True)
class Check:
    """The largest relative difference to the oracle, and the reason to skip if it is too large."""

    error: float
    fault: str | None


class Checker:
    """Holds the oracle's results for one case, and compares implementations with them."""

    def __init__(self, case: Case) -> None:
        self._case = case
        plain = replace(case, compiled=False)  # the definition is not to be trusted to a compiler
        self._expected = self._results(build_workload(plain, "oracle"))

    def check(self, workload: Workload) -> Check:
        """Compare values, and in training mode the gradient of the input as well."""
        limit = TOLERANCES[self._case.level][self._case.dtype]
        errors = {
            what: relative_error(found, self._expected[what])
            for what, found in self._results(workload).items()
        }
        what, error = max(errors.items(), key=lambda item: item[1])
        if error <= limit:
            return Check(error, None)
        return Check(
            error, f"wrong {what}: off the definition by {error:.2g}, {limit:.0e} is allowed"
        )

    def _results(self, workload: Workload) -> dict[str, Tensor]:
        if self._case.mode == "inference":
            with torch.inference_mode():
                return {"values": workload.function(workload.example)}
        leaf = workload.example.detach().clone().requires_grad_()
        values = workload.function(leaf)
        # A gradient that differs everywhere, so that a wrongly routed one cannot cancel out.
        weight = torch.linspace(-1, 1, values.numel(), device=values.device, dtype=values.dtype)
        (gradient,) = torch.autograd.grad(values, leaf, weight.view_as(values))
        return {"values": values.detach(), "gradient": gradient}


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return ``max |found - expected| / max |expected|``; infinite for a NaN or another shape."""
    if found.shape != expected.shape:
        return math.inf
    difference = (found.double() - expected.double()).abs().max()
    error = float(difference / expected.double().abs().max().clamp_min(1e-30))
    return math.inf if math.isnan(error) else error
