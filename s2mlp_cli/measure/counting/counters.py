"""The two counters that look at a running model: fvcore's, over a traced graph, and torch's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import nn
from torch.utils import flop_counter

from s2mlp_cli.measure.counting.operators import handles


@dataclass(frozen=True)
class Figures:
    """What fvcore's trace adds up to.

    Attributes:
        modules: module name -> ``figure:operator`` -> number; ``""`` is the whole.
        unknown: operators without a rule -> how often they were called.
    """

    modules: dict[str, Counter[str]]
    unknown: dict[str, int]

    def total(self, figure: str, module: str = "") -> int:
        """Return one figure of one module, over all operators."""
        counts = self.modules[module]
        return int(sum(value for key, value in counts.items() if key.startswith(f"{figure}:")))


def traced_figures(model: nn.Module, x: torch.Tensor) -> Figures:
    """Trace ``model(x)`` with fvcore and apply this project's rules to every operator."""
    analysis = JitModelAnalysis(model, (x,)).set_op_handle(**handles())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad():
        return Figures(analysis.by_module_and_operator(), dict(analysis.unsupported_ops()))


def flop_counter_macs(model: nn.Module, x: torch.Tensor) -> int:
    """Run ``model(x)`` under torch's FlopCounterMode: half of its FLOPs are the MACs."""
    _fill_compiler_guard()
    with torch.no_grad(), flop_counter.FlopCounterMode(display=False) as counter:
        model(x)
    return int(counter.get_total_flops()) // 2


def _fill_compiler_guard() -> None:
    """Spare the mode's first use the 1.6 s in which it imports torch's whole compiler.

    torch guards the mode's dispatch function against being compiled, and looks for the guarded
    function in this attribute before it makes one. Nothing is compiled while counting, so the
    function can stand for itself. Where a torch has no such guard, nothing happens.
    """
    guarded = flop_counter._FlopCounterMode.__torch_dispatch__
    function = getattr(guarded, "__wrapped__", None)
    if function is not None:
        function.__dict__.setdefault("__dynamo_disable", function)
