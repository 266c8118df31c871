"""Replicate-pad, then a depthwise 3x3 convolution whose kernels hold a single 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.shifts.padding import replicate_pad
from s2mlp_cli.shifts.types import ShiftFunction


def shift_kernels(channels: int, directions: Directions, like: Tensor) -> Tensor:
    """Return the C,1,3,3 kernels: content moving by (dh, dw) has its 1 at row 1-dh, column 1-dw."""
    kernels = torch.zeros(channels, 1, 3, 3, dtype=like.dtype, device=like.device)
    for group, dh, dw in groups(channels, directions):
        kernels[group, 0, 1 - dh, 1 - dw] = 1
    return kernels


def shift_conv(x: Tensor, directions: Directions) -> Tensor:
    """Convolve the padded ``x`` (B,H,W,C) depthwise; the sum has one term that is not zero.

    Exact for finite values, the sign of a zero apart (-0 + 0 is 0): an infinity or a NaN spreads
    to the neighbours whose kernels multiply it by 0. TF32 would round the one term, so it is
    switched off for this one convolution.
    """
    if not directions:
        return x.clone()
    channels = int(x.shape[-1])
    padded = replicate_pad(x.permute(0, 3, 1, 2))
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    ):
        moved = F.conv2d(padded, shift_kernels(channels, directions, x), groups=channels)
    return moved.permute(0, 2, 3, 1)


IMPLEMENTATION = ShiftFunction("conv", "replicate-pad, depthwise 3x3 convolution", shift_conv)
