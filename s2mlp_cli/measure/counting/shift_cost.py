"""What an implementation of the shift executes and moves, beside the algorithm."""

from __future__ import annotations

import torch

from s2mlp_cli.directions import Directions
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.counting.counters import traced_figures
from s2mlp_cli.measure.counting.traffic import bytes_moved
from s2mlp_cli.models.mixer import Shift
from s2mlp_cli.records.count import ShiftCost
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import Implementation, ShiftFunction, ShiftWork
from s2mlp_cli.specs import ModelSpec, S2MLPSpec

# Bytes of a value: float32, in which the shifts are looked at.
ITEMSIZE = 4


def shift_cost(spec: ModelSpec, shift: str, batch_size: int = 1) -> ShiftCost | None:
    """Count the shifts of all blocks on the meta device; every block of a stage has the same.

    An implementation that runs no operators of torch states its work itself.

    Returns:
        None for a family without shifts.

    Raises:
        UnavailableError: no such implementation, or it cannot run here.
    """
    if not isinstance(spec, S2MLPSpec):
        return None
    implementation = registry.get(shift)
    splits = spec.mixer.splits
    maps: Maps = [
        (stage.depth, (batch_size, *size, stage.dim))
        for stage, size in zip(spec.stages, spec.maps(), strict=True)
    ]
    shifted = sum(1 for directions in splits if directions)
    least = sum(depth * 2 * shifted * torch.Size(size).numel() * ITEMSIZE for depth, size in maps)
    if implementation.work is not None:
        macs, moved = _stated(implementation.work(splits, spec.mixer.fusion), maps)
    else:
        macs, moved = _traced(implementation, splits, maps)
    return ShiftCost(macs=macs, bytes_moved=moved, bytes_least=least, itemsize=ITEMSIZE)


# (blocks, B,H,W,C of the map that each of them shifts), by stage.
Maps = list[tuple[int, tuple[int, int, int, int]]]


def _stated(work: ShiftWork, maps: Maps) -> tuple[int, int]:
    """Return (multiply-adds, bytes) of an implementation that states its work for one mixer."""
    macs = sum(depth * work.products * size[0] * size[-1] ** 2 for depth, size in maps)
    moved = sum(depth * work.maps * torch.Size(size).numel() * ITEMSIZE for depth, size in maps)
    return macs, moved


def _traced(
    implementation: Implementation, splits: tuple[Directions, ...], maps: Maps
) -> tuple[int, int]:
    """Return (multiply-adds, bytes) of what the operators of an implementation do."""
    reason = implementation.unavailable(torch.device("meta"))
    if reason is not None:
        raise UnavailableError(f"the shift '{implementation.name}' cannot be counted: {reason}")
    assert isinstance(implementation, ShiftFunction)  # every mixer kernel states its work
    module = Shift(splits, implementation)
    macs = moved = 0
    for depth, (batch, height, width, channels) in maps:
        x = torch.empty(batch, height, width, channels * len(splits), device="meta")
        macs += depth * traced_figures(module, x).total("macs")
        moved += depth * bytes_moved(module, x)
    return macs, moved
