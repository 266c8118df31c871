"""The two normalisations of the blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2mlp_cli.specs import Norm


class Affine(nn.Module):
    """ResMLP's affine transformation, ``weight * x + bias`` per channel, without statistics.

    (arXiv 2105.03404, equation 1; S2-MLP-deep uses it in place of LayerNorm.)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and offset the last axis of ``x`` (..., C)."""
        return torch.addcmul(self.bias, self.weight, x)


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """Return the normalisation that the spec names, over the last axis of C ``channels``."""
    return Affine(channels) if norm.kind == "affine" else nn.LayerNorm(channels, eps=norm.eps)
