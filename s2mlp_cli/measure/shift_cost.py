"""What an implementation of the shift executes and moves, beside the algorithm."""

from __future__ import annotations

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.counters import traced_figures
from s2mlp_cli.measure.traffic import bytes_moved
from s2mlp_cli.models.mixer import Shift
from s2mlp_cli.records.count import ShiftCost
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import ShiftFunction
from s2mlp_cli.spec import BaseSpec, S2MLPSpec


def shift_cost(
    spec: BaseSpec, shift: str, batch_size: int = 1, itemsize: int = 4
) -> ShiftCost | None:
    """Count the shifts of all blocks on the meta device; every block of a stage has the same.

    A mixer kernel has no shift of its own to look at: its bytes are not known here.

    Returns:
        None for a family without shifts.

    Raises:
        UnavailableError: no such implementation, or it cannot run here.
    """
    if not isinstance(spec, S2MLPSpec):
        return None
    implementation = registry.get(shift)
    reason = implementation.unavailable(torch.device("meta"))
    if reason is not None:
        raise UnavailableError(f"the shift '{shift}' cannot be counted: {reason}")
    splits = spec.mixer.splits
    maps = [
        (stage.depth, (batch_size, *size, stage.dim))
        for stage, size in zip(spec.stages, spec.maps(), strict=True)
    ]
    shifted = sum(1 for directions in splits if directions)
    least = sum(depth * 2 * shifted * torch.Size(size).numel() * itemsize for depth, size in maps)
    if not isinstance(implementation, ShiftFunction):
        return ShiftCost(macs=0, bytes_moved=None, bytes_least=least, itemsize=itemsize)
    module = Shift(splits, implementation)
    macs = moved = 0
    for depth, (batch, height, width, channels) in maps:
        x = torch.empty(batch, height, width, channels * len(splits), device="meta")
        macs += depth * traced_figures(module, x).total("macs")
        moved += depth * bytes_moved(module, x) * itemsize // x.element_size()
    return ShiftCost(macs=macs, bytes_moved=moved, bytes_least=least, itemsize=itemsize)
