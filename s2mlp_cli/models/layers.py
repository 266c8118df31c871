"""The layers that all families share: patches, norms, channel MLP, fusions, the classifier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli.specs import Norm, PyramidSpec, Stage


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

    def __init__(
        self, in_channels: int, channels: int, patch: int, norm: nn.Module | None = None
    ) -> None:
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


class Block(nn.Module):
    """A mixer and a channel MLP, each with a residual connection.

    pre (S2-MLPv2, equation 5): ``x + f(norm(x))``. post (S2-MLP v1, figure 1): ``x + norm(f(x))``,
    the norm inside the residual branch.
    """

    def __init__(self, mixer: nn.Module, stage: Stage, norm: Norm) -> None:
        super().__init__()
        self.pre = norm.place == "pre"
        self.norm1 = make_norm(norm, stage.dim)
        self.mixer = mixer
        self.norm2 = make_norm(norm, stage.dim)
        self.mlp = ChannelMLP(stage.dim, stage.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (B,H,W,C)."""
        if self.pre:
            x = x + self.mixer(self.norm1(x))
            x = x + self.mlp(self.norm2(x))
        else:
            x = x + self.norm1(self.mixer(x))
            x = x + self.norm2(self.mlp(x))
        return x


class PyramidClassifier(nn.Module):
    """Stages of a patch layer and blocks, a norm, mean over positions, one linear layer."""

    def __init__(
        self,
        spec: PyramidSpec,
        stages: Iterable[tuple[nn.Module, Iterable[nn.Module]]],
        norm: nn.Module,
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                nn.Sequential(OrderedDict(patch=patch, blocks=nn.Sequential(*blocks)))
                for patch, blocks in stages
            )
        )
        self.norm = norm
        self.head = nn.Linear(spec.stages[-1].dim, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, B,classes, of ``images`` (B,3,H,W)."""
        features = self.norm(self.stages(images.permute(0, 2, 3, 1)))
        logits: Tensor = self.head(features.mean(dim=(1, 2)))
        return logits
