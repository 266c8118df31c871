"""Replicate-pad, torchvision's deform_conv2d with constant offsets, crop."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.padding import replicate_pad
from s2mlp_cli.shifts.types import ShiftFunction


def _torchvision_ops() -> Any:
    try:
        return importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError, OSError) as error:
        # A torchvision built for another torch fails at import with a RuntimeError
        # ("operator torchvision::nms does not exist"): the user's to mend, not a bug.
        raise UnavailableError(
            f"torchvision cannot be imported beside torch {torch.__version__} ({error}); "
            "install the torchvision that belongs to this torch"
        ) from error


def _unavailable(device: torch.device) -> str | None:
    try:
        _torchvision_ops()
    except UnavailableError as error:
        return str(error)
    return None


def shift_deform(x: Tensor, directions: Directions) -> Tensor:
    """Sample the padded ``x`` (B,H,W,C) at (-dh, -dw) with a 1x1 identity weight.

    The channels of one direction share an offset group, so the offsets are B,2*D,H+2,W+2 for D
    directions instead of two maps for every channel; the samples are the same.

    Exact for finite values, the sign of a zero apart: the 1x1 product multiplies every other
    channel by 0, and 0 * inf is NaN.
    """
    if not directions:
        return x.clone()
    batch, height, width, channels = map(int, x.shape)
    offsets = x.new_empty(batch, 2 * len(directions), height + 2, width + 2)
    for index, (_, dh, dw) in enumerate(groups(channels, directions)):
        offsets[:, 2 * index] = -dh
        offsets[:, 2 * index + 1] = -dw
    identity = torch.eye(channels, dtype=x.dtype, device=x.device)[:, :, None, None]
    padded = replicate_pad(x.permute(0, 3, 1, 2)).contiguous()
    moved = _torchvision_ops().deform_conv2d(padded, offsets, identity)
    cropped: Tensor = moved[:, :, 1:-1, 1:-1].permute(0, 2, 3, 1)
    return cropped


IMPLEMENTATION = ShiftFunction(
    "deform",
    "replicate-pad, torchvision deform_conv2d, crop",
    shift_deform,
    unavailable=_unavailable,
)
