"""The papers' pseudocode executed literally: overlapping slices of one tensor. It is no shift.

Source and destination share memory, so on a CPU a group that moves down or right smears its
first line over the map, and on a GPU the result is not defined. It stands here so that its error
can be measured, and so that a model trained with it can be recognised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions, destination_and_source, groups
from s2mlp_cli.shifts.types import ShiftFunction


def shift_inplace(x: Tensor, directions: Directions) -> Tensor:
    """Overwrite slices of one copy of ``x`` (B,H,W,C) by overlapping slices of itself."""
    out = x.clone(memory_format=torch.contiguous_format)
    for group, dh, dw in groups(x.shape[-1], directions):
        to_rows, from_rows = destination_and_source(dh)
        to_columns, from_columns = destination_and_source(dw)
        out[:, to_rows, to_columns, group] = out[:, from_rows, from_columns, group]
    return out


def _unavailable(device: torch.device) -> str | None:
    if device.type == "cuda":
        return "overlapping slices have no defined result on a GPU; use --device cpu"
    return None


IMPLEMENTATION = ShiftFunction(
    "inplace",
    "the papers' overlapping slices: WRONG on purpose",
    shift_inplace,
    safe=False,
    unavailable=_unavailable,
)
