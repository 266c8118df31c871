"""Global Filter Networks (arXiv 2107.00645), built from the layers of S2-MLP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli.models.layers import ChannelMLP, PatchLayer, PyramidClassifier
from s2mlp_cli.specs import GFNetSpec, Stage


def resample(grid: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Interpolate ``grid`` (H,W,C) bicubically to ``size``; return it unchanged at its own."""
    if grid.shape[:2] == size:
        return grid
    channels_first = grid.permute(2, 0, 1)[None]
    resized = F.interpolate(channels_first, size, mode="bicubic", align_corners=align_corners)
    return resized[0].permute(1, 2, 0)


class GlobalFilter(nn.Module):
    """A circular convolution as large as the map, computed as a product of frequencies.

    ``irfft2(rfft2(x) * weight)`` (equation 5), both transforms orthonormal. The learned complex
    weight is H,W/2+1,C; its real and imaginary parts are a last axis of 2. For maps of another size
    it is interpolated bicubically with aligned corners, as the authors do.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        height, width = size
        self.weight = nn.Parameter(torch.randn(height, width // 2 + 1, channels, 2) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``x`` (B,H,W,C); half-precision inputs are transformed in float32."""
        height, width = x.shape[1:3]
        frequencies = torch.fft.rfft2(x.float(), dim=(1, 2), norm="ortho")
        filtered = frequencies * self._weight((height, width // 2 + 1))
        y: Tensor = torch.fft.irfft2(filtered, s=(height, width), dim=(1, 2), norm="ortho")
        return y.to(x.dtype)

    def _weight(self, size: tuple[int, int]) -> Tensor:
        """Return the complex weight for ``size`` frequencies: H,W/2+1,C."""
        parts = resample(self.weight.float().flatten(2), size, align_corners=True)
        return torch.view_as_complex(parts.reshape(*size, -1, 2).contiguous())


class LayerScale(nn.Module):
    """A learned factor per channel, 0.001 at first as the authors have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 1e-3))

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``x`` (..., C)."""
        return x * self.weight


class FilterBlock(nn.Module):
    """``x + scale * mlp(norm2(filter(norm1(x))))``: one residual around filter and MLP."""

    def __init__(self, spec: GFNetSpec, stage: Stage, size: tuple[int, int]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(stage.dim, eps=spec.eps)
        self.mixer = GlobalFilter(stage.dim, size)
        self.norm2 = nn.LayerNorm(stage.dim, eps=spec.eps)
        self.mlp = ChannelMLP(stage.dim, stage.expansion)
        self.scale = LayerScale(stage.dim) if spec.layer_scale else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (B,H,W,C)."""
        branch: Tensor = self.scale(self.mlp(self.norm2(self.mixer(self.norm1(x)))))
        return x + branch


class PositionEmbedding(nn.Module):
    """A learned vector per position, interpolated for maps of another size."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*size, channels) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Add the embedding to ``x`` (B,H,W,C)."""
        height, width = x.shape[1:3]
        return x + resample(self.weight, (height, width))


class PositionedPatchLayer(PatchLayer):
    """The first stage's patch layer, followed by the position embedding."""

    def __init__(self, in_channels: int, channels: int, patch: int, size: tuple[int, int]) -> None:
        super().__init__(in_channels, channels, patch)
        self.position = PositionEmbedding(channels, size)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the patches of ``x`` (B,H,W,Cin) and add their positions."""
        positioned: Tensor = self.position(super().forward(x))
        return positioned


class GFNet(PyramidClassifier):
    """GFNet; images of any size that the patches divide.

    At other sizes than the native one, filters and position embedding are interpolated.
    """

    def __init__(self, spec: GFNetSpec) -> None:
        stages = (
            (
                PositionedPatchLayer(channels, stage.dim, stage.patch, size)
                if index == 0
                else PatchLayer(channels, stage.dim, stage.patch),
                (FilterBlock(spec, stage, size) for _ in range(stage.depth)),
            )
            for index, (channels, stage, size) in enumerate(
                zip(spec.inputs(), spec.stages, spec.filters(), strict=True)
            )
        )
        super().__init__(spec, stages, nn.LayerNorm(spec.stages[-1].dim, eps=spec.eps))
