"""What an implementation of the shift executes and moves, beside the algorithm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import nn

from s2mlp_cli.directions import Splits
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.counting.counters import Seen, bytes_moved, traced_figures
from s2mlp_cli.models.s2attention import S2Attention
from s2mlp_cli.models.s2mlp import Shift, SpatialShiftMixer
from s2mlp_cli.records.count import ShiftCost
from s2mlp_cli.shifts.types import Implementation, ShiftFunction

# Bytes of a value: float32, in which the shifts are looked at.
ITEMSIZE = 4

# The splits of a mixer, how it fuses them, and the map B,H,W,C that it shifts.
Shifted = tuple[Splits, str, tuple[int, ...]]


def shift_cost(
    model: nn.Module, seen: Mapping[str, Seen], implementation: Implementation
) -> ShiftCost | None:
    """Count the shifts of all mixers on the meta device; equal ones are counted once.

    An implementation that runs no operators of torch states its work itself.

    Args:
        model: with the mixers.
        seen: the shapes that they met.
        implementation: of the shift.

    Returns:
        None for a model without shifts.

    Raises:
        UnavailableError: the implementation cannot run here.
    """
    shifted: Counter[Shifted] = Counter()
    for name, mixer in model.named_modules():
        if isinstance(mixer, (SpatialShiftMixer, S2Attention)) and name in seen:
            size = seen[name].input_shape or ()
            if isinstance(mixer, S2Attention):  # its map is B,C,H,W
                size = (size[0], *size[2:], size[1])
            shifted[mixer.splits, mixer.fusion, size] += seen[name].calls
    if not shifted:
        return None
    macs = moved = least = 0
    for (splits, fusion, size), times in shifted.items():
        products, traffic = _one(implementation, splits, fusion, size)
        macs += times * products
        moved += times * traffic
        least += times * 2 * sum(map(bool, splits)) * math.prod(size) * ITEMSIZE
    return ShiftCost(macs=macs, bytes_moved=moved, bytes_least=least, itemsize=ITEMSIZE)


def _one(
    implementation: Implementation,
    splits: Splits,
    fusion: str,
    size: tuple[int, ...],
) -> tuple[int, int]:
    """Return (multiply-adds, bytes) of one mixer's shifts."""
    if implementation.work is not None:
        work = implementation.work(splits, fusion)
        return work.products * size[0] * size[-1] ** 2, work.maps * math.prod(size) * ITEMSIZE
    reason = implementation.unavailable(torch.device("meta"))
    if reason is not None:
        raise UnavailableError(f"the shift '{implementation.name}' cannot be counted: {reason}")
    assert isinstance(implementation, ShiftFunction)  # every mixer kernel states its work
    module = Shift(splits, implementation)
    x = torch.empty(*size[:-1], size[-1] * len(splits), device="meta")
    try:
        return traced_figures(module, x).total("macs"), bytes_moved(module, x)
    except NotImplementedError:  # code of the user that looks at values
        x = torch.zeros_like(x, device="cpu")
        return traced_figures(module, x).total("macs"), bytes_moved(module, x)
