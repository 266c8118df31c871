"""How many multiply-adds a case has: what a matrix-product rate can be compared with."""

from __future__ import annotations

import torch
from torch import nn

from s2mlp_cli.measure.counting.counters import traced_figures
from s2mlp_cli.measure.counting.meta_kernels import meta_kernels
from s2mlp_cli.measure.profiling.workloads import Case, build_module


def matmul_macs(case: Case) -> int:
    """Count the multiply-adds of one forward pass of ``case``, by the rules of ``count``.

    Nothing is computed, and the shift alone has none.
    """
    if case.level == "op":
        return 0
    module = build_module(case, "none", torch.device("meta"))
    assert isinstance(module, nn.Module)
    with meta_kernels():
        return traced_figures(module, torch.empty(case.shape, device="meta")).total("macs")
