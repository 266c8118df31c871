"""Replicate padding by one pixel, shared by the implementations that crop or convolve."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def replicate_pad(x: Tensor) -> Tensor:
    """Pad the rows and columns of ``x`` (B,C,H,W) by one, replicating the edge: B,C,H+2,W+2."""
    return F.pad(x, (1, 1, 1, 1), mode="replicate")
