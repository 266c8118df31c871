"""S2-MLP v1, v2 and their variants, built from one spec."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from s2mlp_cli.directions import Splits
from s2mlp_cli.models.layers import (
    Block,
    MeanFusion,
    PatchLayer,
    PyramidClassifier,
    SplitAttention,
    make_norm,
)
from s2mlp_cli.records.base import BASELINE
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.fused import fuse
from s2mlp_cli.shifts.torch_shifts import shift_maps
from s2mlp_cli.shifts.types import Implementation, MixerKernel, ShiftFunction
from s2mlp_cli.specs import Mixer, S2MLPSpec


class Shift(nn.Module):
    """Splits K*C channels into K maps and shifts each by its own directions.

    A map without directions is passed on without a copy.
    """

    def __init__(self, splits: Splits, function: ShiftFunction) -> None:
        super().__init__()
        self.splits = splits
        self.function = function

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the K shifted maps, B,H,W,C each, of ``x`` (B,H,W,K*C)."""
        return shift_maps(x, self.splits, self.function.run)


class SpatialShiftMixer(nn.Module):
    """``project(fuse(shift(activation(expand(x)))))`` on a map of B,H,W,C.

    v1 (section 3.2): one split, GELU, nothing to fuse. v2 (section 3.1): three splits, split
    attention, no activation. A mixer kernel as implementation does all of it with the weights of
    this module, which is a :class:`s2mlp_cli.shifts.types.MixerParameters`.
    """

    def __init__(self, channels: int, mixer: Mixer, implementation: Implementation) -> None:
        super().__init__()
        maps = len(mixer.splits)
        self.splits: Splits = mixer.splits
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


class S2MLP(PyramidClassifier):
    """The classifier, for images of any size that the patches divide."""

    def __init__(self, spec: S2MLPSpec, implementation: Implementation) -> None:
        mixer = partial(SpatialShiftMixer, mixer=spec.mixer, implementation=implementation)
        stages = (
            (
                PatchLayer(
                    channels,
                    stage.dim,
                    stage.patch,
                    norm=make_norm(spec.norm, stage.dim) if spec.patch_norm else None,
                ),
                (Block(mixer(stage.dim), stage, spec.norm) for _ in range(stage.depth)),
            )
            for channels, stage in zip(spec.inputs(), spec.stages, strict=True)
        )
        norm = make_norm(spec.norm, spec.stages[-1].dim) if spec.head_norm else nn.Identity()
        super().__init__(spec, stages, norm)
