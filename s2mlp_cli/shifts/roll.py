"""Replicate-pad by one, torch.roll each group, crop."""

from __future__ import annotations

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.shifts.padding import replicate_pad
from s2mlp_cli.shifts.types import ShiftFunction


def shift_roll(x: Tensor, directions: Directions) -> Tensor:
    """Roll each group of the padded ``x`` (B,H,W,C); what wraps around falls in the border."""
    padded = replicate_pad(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    rolled = [
        torch.roll(padded[..., group], (dh, dw), dims=(1, 2))[:, 1:-1, 1:-1]
        for group, dh, dw in groups(x.shape[-1], directions)
    ]
    return torch.cat(rolled, dim=-1) if rolled else x.clone()


IMPLEMENTATION = ShiftFunction("roll", "replicate-pad, torch.roll, crop", shift_roll)
