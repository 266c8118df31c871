"""One run of a model under both counters, on the meta device wherever it can run there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from fvcore.nn.parameter_count import parameter_count
from torch import nn
from torch.nn.parameter import is_lazy

from s2mlp_cli.errors import S2MLPError, SpecError, UnavailableError, UserCodeError
from s2mlp_cli.measure.counting.counters import (
    Figures,
    Seen,
    flop_counter_macs,
    traced_figures,
    watching,
)
from s2mlp_cli.measure.counting.meta_kernels import meta_kernels
from s2mlp_cli.measure.counting.shift_cost import shift_cost
from s2mlp_cli.measure.source import GivenModel
from s2mlp_cli.records.count import ShiftCost
from s2mlp_cli.shifts.contender import beside
from s2mlp_cli.shifts.types import Implementation
from s2mlp_cli.user_code import described


@dataclass(frozen=True)
class Run:
    """What a forward pass of ``model`` shows.

    Attributes:
        params: module or parameter -> parameters; what several share counts in the first of them.
        flop_counter: the MACs of FlopCounterMode.
    """

    model: nn.Module
    params: Counter[str]
    figures: Figures
    flop_counter: int
    seen: Mapping[str, Seen]
    shift_cost: ShiftCost | None
    notes: tuple[str, ...] = ()


def run_model(given: GivenModel, shift: Implementation, batch_size: int) -> Run:
    """Run a model on the meta device; code that cannot run there runs on the CPU.

    Raises:
        SpecError: a forward pass fails at this size.
        UserCodeError: the user's code fails, on the CPU too.
    """
    if given.is_own:
        return _run_on("meta", given, shift, batch_size)
    from s2mlp_cli.models.timm_models import fused_attention, is_of_meta

    with fused_attention():
        try:
            return _run_on("meta", given, shift, batch_size)
        except (SpecError, UnavailableError):
            raise
        except Exception as error:
            if given.spec is not None and not is_of_meta(error):
                raise _unsupported(given, error) from error
            reason = str(error) if isinstance(error, UserCodeError) else described(error)
        try:
            run = _run_on("cpu", given, shift, batch_size)
        except S2MLPError:
            raise
        except Exception as error:
            raise _unsupported(given, error) from error
    note = f"counted on the CPU, because it does not run on the meta device ({reason})"
    return replace(run, notes=(note,))


def _run_on(device: str, given: GivenModel, shift: Implementation, batch_size: int) -> Run:
    with meta_kernels():
        model = given.build("none", device)
        for weight in model.parameters():
            if not is_lazy(weight):  # the lent kernels know no gradients
                weight.requires_grad_(False)
        size = (batch_size, given.in_channels, *given.input_size)
        weights = (weight.dtype for weight in model.parameters() if weight.is_floating_point())
        images = torch.zeros(size, device=device, dtype=next(weights, torch.float32))
        with given.running(), torch.device(device):
            with watching(model) as seen:
                flop_counter = flop_counter_macs(model, images)
            figures = traced_figures(model, images)
        with beside([shift.name]):
            cost = shift_cost(model, seen, shift)
    return Run(model, Counter(parameter_count(model)), figures, flop_counter, seen, cost)


def _unsupported(given: GivenModel, error: Exception) -> SpecError:
    reason = f"its forward pass fails: {described(error, given.path)}"
    return SpecError.of_size(given.name, given.input_size, reason, given.native_size)
