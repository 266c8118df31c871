"""The frame that the families built here share: stages of a patch layer and blocks, and a head."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


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
