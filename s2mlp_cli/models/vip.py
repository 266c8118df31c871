"""The Vision Permutator (arXiv 2106.12368), built from the layers of S2-MLPv2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2mlp_cli.models.layers import (
    Block,
    PatchLayer,
    PyramidClassifier,
    SplitAttention,
    make_norm,
)
from s2mlp_cli.specs import Norm, VipSpec


def join_rows(x: Tensor, segments: int) -> Tensor:
    """Regroup a map so that each column of each channel segment becomes a vector.

    Args:
        x: B,H,W,C with C = N * S.
        segments: N, the number of segments of S channels.

    Returns:
        B,N,W,H*S: entry ``h * S + s`` of vector (b, n, w) is ``x[b, h, w, n * S + s]``.
    """
    batch, height, width, channels = x.shape
    cut = x.reshape(batch, height, width, segments, channels // segments)
    return cut.permute(0, 3, 2, 1, 4).flatten(3)


def split_rows(x: Tensor, rows: int) -> Tensor:
    """Undo :func:`join_rows`: B,N,W,H*S to B,H,W,N*S."""
    batch, segments, width, joined = x.shape
    cut = x.reshape(batch, segments, width, rows, joined // rows)
    return cut.permute(0, 3, 2, 1, 4).flatten(3)


class PermuteMixer(nn.Module):
    """Weighted Permute-MLP (section 3.2): height, width and channel branches, then attention.

    Each branch is one C x C layer without bias. The height branch multiplies whole columns, so it
    needs as many segments as the map has rows: then H * S = C. The width branch is the height
    branch of the transposed map. Split attention uses the mean over positions where S2-MLPv2 uses
    the sum, and its layers have biases.
    """

    def __init__(self, channels: int, segments: int, reduction: int) -> None:
        super().__init__()
        self.segments = segments
        self.height = nn.Linear(channels, channels, bias=False)
        self.width = nn.Linear(channels, channels, bias=False)
        self.channel = nn.Linear(channels, channels, bias=False)
        self.attention = SplitAttention(channels, 3, reduction, bias=True)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` (B,H,W,C) over columns, rows and channels."""
        columns = x.transpose(1, 2)
        maps = torch.stack(
            (
                self._permuted(self.height, x),
                self._permuted(self.width, columns).transpose(1, 2),
                self.channel(x),
            ),
            dim=1,
        )
        weights = self.attention.weights(maps.sum(dim=1).mean(dim=(1, 2)))
        mixed: Tensor = self.project((weights[:, :, None, None] * maps).sum(dim=1))
        return mixed

    def _permuted(self, layer: nn.Linear, x: Tensor) -> Tensor:
        return split_rows(layer(join_rows(x, self.segments)), x.shape[1])


class VisionPermutator(PyramidClassifier):
    """The Vision Permutator; it takes images of its spec's size only."""

    def __init__(self, spec: VipSpec) -> None:
        norm = Norm(kind="layer", place="pre", eps=spec.eps)
        stages = (
            (
                PatchLayer(channels, stage.dim, stage.patch),
                (
                    Block(PermuteMixer(stage.dim, stage.segments, spec.reduction), stage, norm)
                    for _ in range(stage.depth)
                ),
            )
            for channels, stage in zip(spec.inputs(), spec.stages, strict=True)
        )
        super().__init__(spec, stages, make_norm(norm, spec.stages[-1].dim))
