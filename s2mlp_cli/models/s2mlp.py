"""S2-MLP v1, v2 and everything between, built from one spec."""

from __future__ import annotations

from torch import Tensor, nn

from s2mlp_cli.models.mixer import SpatialShiftMixer
from s2mlp_cli.models.norms import make_norm
from s2mlp_cli.models.parts import ChannelMLP, PatchLayer
from s2mlp_cli.models.pyramid import PyramidClassifier, PyramidStage
from s2mlp_cli.shifts.types import Implementation
from s2mlp_cli.specs import S2MLPSpec, Stage


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
    """The classifier: stages, an optional norm, mean over positions, one linear layer.

    No weight depends on the size of the image: any size that the patches divide will do.
    """

    def __init__(self, spec: S2MLPSpec, implementation: Implementation) -> None:
        inputs = [spec.in_channels, *(stage.dim for stage in spec.stages)]
        stages = (
            PyramidStage(
                PatchLayer(in_channels, stage.dim, stage.patch, _patch_norm(spec, stage)),
                (Block(spec, stage, implementation) for _ in range(stage.depth)),
            )
            for in_channels, stage in zip(inputs, spec.stages, strict=False)
        )
        norm = make_norm(spec.norm, inputs[-1]) if spec.head_norm else nn.Identity()
        super().__init__(stages, norm, inputs[-1], spec.classes)


def _patch_norm(spec: S2MLPSpec, stage: Stage) -> nn.Module | None:
    return make_norm(spec.norm, stage.dim) if spec.patch_norm else None
