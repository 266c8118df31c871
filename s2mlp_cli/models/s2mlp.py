"""S2-MLP v1, v2 and their variants, built from one spec."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2mlp_cli.directions import Directions
from s2mlp_cli.models.layers import (
    ChannelMLP,
    MeanFusion,
    PatchLayer,
    PyramidClassifier,
    PyramidStage,
    SplitAttention,
    make_norm,
)
from s2mlp_cli.records.base import BASELINE
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.fused import fuse
from s2mlp_cli.shifts.types import Implementation, MixerKernel, ShiftFunction
from s2mlp_cli.specs import Mixer, S2MLPSpec, Stage


class Shift(nn.Module):
    """Splits K*C channels into K maps and shifts each by its own directions.

    A map without directions is passed on without a copy.
    """

    def __init__(self, splits: tuple[Directions, ...], function: ShiftFunction) -> None:
        super().__init__()
        self.splits = splits
        self.function = function

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the K shifted maps, B,H,W,C each, of ``x`` (B,H,W,K*C)."""
        return [
            self.function.run(part, directions) if directions else part
            for part, directions in zip(x.chunk(len(self.splits), -1), self.splits, strict=True)
        ]


class SpatialShiftMixer(nn.Module):
    """``project(fuse(shift(activation(expand(x)))))`` on a map of B,H,W,C.

    v1 (section 3.2): one split, GELU, nothing to fuse. v2 (section 3.1): three splits, split
    attention, no activation. A mixer kernel as implementation does all of it with the weights of
    this module, which is a :class:`s2mlp_cli.shifts.types.MixerParameters`.
    """

    def __init__(self, channels: int, mixer: Mixer, implementation: Implementation) -> None:
        super().__init__()
        maps = len(mixer.splits)
        self.splits: tuple[Directions, ...] = mixer.splits
        self.fusion = mixer.fusion
        self.expand = nn.Linear(channels, maps * channels)
        self.activation = nn.GELU() if mixer.activation == "gelu" else nn.Identity()
        self.attention = (
            SplitAttention(channels, maps, mixer.reduction, mixer.attention_bias)
            if mixer.fusion == "split-attention"
            else None
        )
        self.mean = MeanFusion() if mixer.fusion == "mean" else None
        self.project = nn.Linear(channels, channels)
        self.set_implementation(implementation)

    def set_implementation(self, implementation: Implementation) -> None:
        """Change how the shift is computed; the weights stay."""
        self.kernel = implementation if isinstance(implementation, MixerKernel) else None
        of_maps = registry.get(BASELINE) if self.kernel else implementation
        assert isinstance(of_maps, ShiftFunction)
        self.shift = Shift(self.splits, of_maps)

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` (B,H,W,C) over positions and channels."""
        if self.kernel is not None:
            return self.kernel.run(x, self)
        maps = self.shift(self.activation(self.expand(x)))
        projected: Tensor = self.project(self._fuse(maps))
        return projected

    def _fuse(self, maps: list[Tensor]) -> Tensor:
        fusion = self.attention or self.mean
        if fusion is None:
            return maps[0]
        # A stack is a copy of all maps to a compiler; counters trace what eager PyTorch runs.
        if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export():
            return fuse(maps, self)
        fused: Tensor = fusion(torch.stack(maps, dim=1))
        return fused


class Block(nn.Module):
    """A spatial-shift mixer and a channel MLP, each with a residual connection.

    pre (S2-MLPv2, equation 5): ``x + f(norm(x))``. post (S2-MLP v1, figure 1): ``x + norm(f(x))``,
    the norm inside the residual branch.
    """

    def __init__(self, spec: S2MLPSpec, stage: Stage, implementation: Implementation) -> None:
        super().__init__()
        self.pre = spec.norm.place == "pre"
        self.norm1 = make_norm(spec.norm, stage.dim)
        self.mixer = SpatialShiftMixer(stage.dim, spec.mixer, implementation)
        self.norm2 = make_norm(spec.norm, stage.dim)
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


class S2MLP(PyramidClassifier):
    """The classifier, for images of any size that the patches divide."""

    def __init__(self, spec: S2MLPSpec, implementation: Implementation) -> None:
        inputs = [spec.in_channels, *(stage.dim for stage in spec.stages)]
        stages = (
            PyramidStage(
                PatchLayer(
                    in_channels,
                    stage.dim,
                    stage.patch,
                    norm=make_norm(spec.norm, stage.dim) if spec.patch_norm else None,
                ),
                (Block(spec, stage, implementation) for _ in range(stage.depth)),
            )
            for in_channels, stage in zip(inputs, spec.stages, strict=False)
        )
        norm = make_norm(spec.norm, inputs[-1]) if spec.head_norm else nn.Identity()
        super().__init__(stages, norm, inputs[-1], spec.classes)
