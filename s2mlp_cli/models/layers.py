"""The layers that all families share: patches, norms, channel MLP, fusions, the classifier."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
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


class PatchLayer(nn.Module):
    """Non-overlapping patches of an image or of a map, each fully connected to ``channels``.

    The fully connected layer is written as a convolution whose stride is its kernel: the same
    product, and no copy of the map. In: B,H,W,Cin. Out: B,H/p,W/p,C, contiguous: the blocks' sums
    would carry the convolution's strides through the whole stage.
    """

    def __init__(self, in_channels: int, channels: int, patch: int, norm: nn.Module | None) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel_size=patch, stride=patch)
        self.norm = norm or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Embed the patches of ``x`` (B,H,W,Cin)."""
        patches: Tensor = self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        normed: Tensor = self.norm(patches.contiguous())
        return normed


class ChannelMLP(nn.Module):
    """Two fully connected layers with a GELU between: C to r*C to C."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, expansion * channels)
        self.fc2 = nn.Linear(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of ``x`` (..., C)."""
        mixed: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return mixed


class SplitAttention(nn.Module):
    """Softmax weights over K maps, per channel (S2-MLPv2, section 3.2; ResNeSt).

    ``a`` = sum over maps and positions; ``hat_a = W2 GELU(W1 a)`` with W1: C to C/reduction and
    W2: C/reduction to K*C; softmax over the K maps; the output is the weighted sum of the maps.
    """

    def __init__(self, channels: int, maps: int, reduction: int, bias: bool = False) -> None:
        super().__init__()
        self.maps = maps
        self.reduce = nn.Linear(channels, channels // reduction, bias=bias)
        self.expand = nn.Linear(channels // reduction, maps * channels, bias=bias)

    def weights(self, total: Tensor) -> Tensor:
        """Return the weights of the maps, B,K,C, from the sum over maps and positions, B,C."""
        scores: Tensor = self.expand(F.gelu(self.reduce(total)))
        return scores.view(*scores.shape[:-1], self.maps, -1).softmax(dim=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse ``maps`` (B,K,H,W,C) into B,H,W,C."""
        weights = self.weights(maps.sum(dim=(1, 2, 3)))
        return (weights[:, :, None, None] * maps).sum(dim=1)


class MeanFusion(nn.Module):
    """The plain mean of the maps: "sum pooling" in S2-MLPv2's table 6."""

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse ``maps`` (B,K,H,W,C) into B,H,W,C."""
        return torch.mean(maps, dim=1)


class PyramidStage(nn.Module):
    """A patch layer and its blocks."""

    def __init__(self, patch: nn.Module, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.patch = patch
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (B,H,W,Cin) into B,H/p,W/p,C."""
        transformed: Tensor = self.blocks(self.patch(x))
        return transformed


class PyramidClassifier(nn.Module):
    """Stages, a norm, mean over positions, one linear layer."""

    def __init__(
        self, stages: Iterable[nn.Module], norm: nn.Module, channels: int, classes: int
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.norm = norm
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, B,classes, of ``images`` (B,3,H,W)."""
        features = self.norm(self.stages(images.permute(0, 2, 3, 1)))
        logits: Tensor = self.head(features.mean(dim=(1, 2)))
        return logits
