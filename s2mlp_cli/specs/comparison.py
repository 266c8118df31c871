"""The comparison models of the papers: Vision Permutator, GFNet, and all of timm's models."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from s2mlp_cli.specs.model import (
    STAGES,
    ImageSize,
    ModelSpec,
    PyramidSpec,
    Stage,
    as_tuples,
    check_channels,
    check_sizes,
    misfit,
)


class VipStage(Stage):
    """A stage of the Vision Permutator; its map is a square of ``segments`` x ``segments``."""

    segments: int = Field(
        ge=1,
        le=16_384,
        description="Into how many segments the channels are cut: as many as the map has rows, "
        "so that a column of one segment is a vector of C values again.",
    )


class VipSpec(PyramidSpec):
    """Vision Permutator (arXiv 2106.12368).

    The weights of its height and width branches fix the number of tokens, so a set of weights
    supports one input size only.
    """

    family: Literal["vip"] = "vip"
    stages: Annotated[tuple[VipStage, ...], BeforeValidator(as_tuples), STAGES]
    reduction: int = Field(
        default=4, ge=1, le=1024, description="Split attention's hidden channels are C / reduction."
    )
    eps: float = Field(default=1e-5, gt=0, le=1e-2, description="LayerNorm's epsilon.")

    @model_validator(mode="after")
    def _size_fits(self) -> Self:  # instead of the one of all pyramids
        for index, (stage, (height, width)) in enumerate(
            zip(self.stages, self.maps(), strict=True)
        ):
            for key, parts in (("segments", stage.segments), ("reduction", self.reduction)):
                check_channels(index, stage, parts, f"{key} = {parts}")
            if height != stage.segments or width != stage.segments:
                side = stage.segments * math.prod(each.patch for each in self.stages[: index + 1])
                raise misfit(
                    f"{self.input_size[0]}x{self.input_size[1]}, {height}x{width} tokens in stage "
                    f"{index}",
                    f"{side}x{side} only, since the weights of stage {index} are for a map of "
                    f"{stage.segments}x{stage.segments} tokens",
                    ("input_size",),
                )
        check_sizes(self.input_size, self.stages)
        return self


class GFNetSpec(PyramidSpec):
    """Global Filter Network (arXiv 2107.00645), isotropic (one stage) or hierarchical.

    The filters and the position embedding have the size of the maps of ``native_size``; at any
    other ``input_size`` they are interpolated, and the parameters stay the same.
    """

    family: Literal["gfnet"] = "gfnet"
    native_size: ImageSize = (224, 224)
    layer_scale: bool = Field(
        description="A learned factor per channel on each block's branch (the hierarchical ones)."
    )
    eps: float = Field(default=1e-6, gt=0, le=1e-2, description="LayerNorm's epsilon.")

    def filters(self) -> tuple[tuple[int, int], ...]:
        """Return the (height, width) of the maps that each stage's filters were made for."""
        return self.maps(self.native_size)

    @model_validator(mode="after")
    def _native_size_fits(self) -> GFNetSpec:
        check_sizes(self.native_size, self.stages, key="native_size")
        return self


class TimmSpec(ModelSpec):
    """A model of the library timm, by its name there. No weights come with it."""

    family: Literal["timm"] = "timm"
    classes: int = Field(
        default=1000, ge=0, le=1_000_000, description="Outputs of the head; 0: no head, features."
    )
    timm: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9_.]+$",
        description="The model's name in timm, such as mixer_b16_224.",
    )
