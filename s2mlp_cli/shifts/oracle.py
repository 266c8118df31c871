"""The definition of the spatial shift, written as index arithmetic. Everything is held to it."""

from __future__ import annotations

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.shifts.types import ShiftFunction


def shift_oracle(x: Tensor, directions: Directions) -> Tensor:
    """Move each equal group of channels by its direction; replicate the pixels at the edge.

    ``out[b, h, w, c] = x[b, clamp(h - dh), clamp(w - dw), c]`` (S2-MLP, section 3.2).

    Args:
        x: B,H,W,C.
        directions: one per group; C must divide by their number. Empty: ``x`` unchanged.

    Returns:
        A new tensor of the same shape, dtype and device.
    """
    height, width, channels = map(int, x.shape[1:])
    rows = torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device)
    moved = []
    for group, dh, dw in groups(channels, directions):
        source_rows = (rows - dh).clamp(0, height - 1)
        source_columns = (columns - dw).clamp(0, width - 1)
        moved.append(x[..., group][:, source_rows][:, :, source_columns])
    return torch.cat(moved, dim=-1) if moved else x.clone()


IMPLEMENTATION = ShiftFunction(
    "oracle", "index arithmetic straight from the definition", shift_oracle
)
