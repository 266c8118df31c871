"""The frozen, typed description of a model: what every spec file resolves to.

One set of parts builds S2-MLP v1, v2, their ablations and third-party variants; how they differ
is data. Families that are built from other parts have their classes in
:mod:`s2mlp_cli.specs.comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.specs.yaml_source import KeyPath

Direction = Literal["up", "down", "left", "right", "up-left", "up-right", "down-left", "down-right"]
assert set(OFFSETS) == set(Direction.__args__)  # type: ignore[attr-defined]


# In the widest map of one image: far above any machine, far below what a tensor can index.
MAX_VALUES = 2**38


def misfit(found: str, allowed: str, *at: KeyPath) -> PydanticCustomError:
    """Return the error for a value that has the right type but does not fit.

    Of the keys ``at`` that do not fit each other, the sentence names the one that was written last.
    """
    return PydanticCustomError(
        "misfit", "{allowed}", {"at": at, "found": found, "allowed": allowed}
    )


def _pair(value: Any) -> Any:
    if isinstance(value, (bool, float, str)):
        raise misfit(repr(value), "a number of pixels, or [height, width]")
    return (value, value) if isinstance(value, int) else as_tuples(value)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise misfit(repr(text)[:60], "printable characters")
    return text


Text = Annotated[str, AfterValidator(_printable)]


def as_tuples(value: Any) -> Any:
    """Return ``value`` with every list in it, at any depth, as a tuple: frozen all the way."""
    return tuple(as_tuples(item) for item in value) if isinstance(value, list) else value


# Of a side of an image.
MAX_PIXELS = 16_384

Pixels = Annotated[int, Field(ge=1, le=MAX_PIXELS)]
ImageSize = Annotated[
    tuple[Pixels, Pixels],
    BeforeValidator(_pair),
    Field(description="Pixels: one number for a square, or [height, width]."),
]


class Strict(BaseModel):
    """Base of everything in a spec: immutable, strictly typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Stage(Strict):
    """A patch layer and the blocks that follow it."""

    patch: int = Field(ge=1, le=1024, description="Side of the square, non-overlapping patches.")
    dim: int = Field(ge=1, le=65_536, description="Channels C of the stage's map.")
    depth: int = Field(ge=1, le=1000, description="Number of blocks.")
    expansion: int = Field(ge=1, le=64, description="Hidden channels of the channel MLP, over C.")


class Norm(Strict):
    """The normalisation of the blocks."""

    kind: Literal["layer", "affine"] = Field(
        description="LayerNorm, or ResMLP's learned scale and offset without statistics."
    )
    place: Literal["pre", "post"] = Field(
        description="pre: x + f(norm(x)), S2-MLPv2. post: x + norm(f(x)), S2-MLP v1."
    )
    eps: float = Field(default=1e-5, gt=0, le=1e-2, description="LayerNorm's epsilon.")


class Mixer(Strict):
    """The spatial-shift mixer: expand to K maps, shift each, fuse, project."""

    splits: Annotated[
        tuple[tuple[Direction, ...], ...],
        BeforeValidator(as_tuples),
        Field(
            min_length=1,
            max_length=16,
            description="The directions of each of the K maps, for equal groups of its channels "
            "in this order, by the way the content moves. An empty list: not shifted.",
        ),
    ]
    activation: Literal["gelu", "none"] = Field(
        description="Between the expansion and the shift: gelu in v1, none in v2."
    )
    fusion: Literal["none", "mean", "split-attention"] = Field(
        description="How the K maps become one: none needs K = 1."
    )
    reduction: int = Field(
        default=4, ge=1, le=1024, description="Split attention's hidden channels are C / reduction."
    )
    attention_bias: bool = Field(
        default=False, description="Whether split attention's two layers have biases."
    )

    @model_validator(mode="after")
    def _fusion_fits(self) -> Mixer:
        count = len(self.splits)
        if (self.fusion == "none") != (count == 1):
            allowed = "none" if count == 1 else "mean or split-attention"
            raise misfit(
                f"'{self.fusion}' for {count} split{'s' * (count > 1)}",
                f"{allowed} for that many splits",
                ("mixer", "fusion"),
                ("mixer", "splits"),
            )
        return self


class ModelSpec(Strict):
    """What the specs of all families share."""

    family: str
    name: Text = Field(min_length=1, max_length=200, description="The file's name by default.")
    title: Text = Field(default="", max_length=200, description="The name that the paper prints.")
    source: Text = Field(default="", max_length=500, description="Where it is defined.")
    input_size: ImageSize = (224, 224)
    in_channels: int = Field(default=3, ge=1, le=4096, description="Channels of the image.")
    classes: int = Field(default=1000, ge=1, le=1_000_000, description="Outputs of the head.")


STAGES = Field(min_length=1, max_length=16, description="The pyramid, from image to head.")


class PyramidSpec(ModelSpec):
    """Stages of a patch layer and blocks, one after the other: all families but timm's."""

    stages: Annotated[tuple[Stage, ...], BeforeValidator(as_tuples), STAGES]

    @model_validator(mode="after")
    def _size_fits(self) -> Self:
        check_sizes(self.input_size, self.stages)
        return self

    def inputs(self) -> tuple[int, ...]:
        """Return the channels that go into each stage."""
        return (self.in_channels, *(stage.dim for stage in self.stages[:-1]))

    def maps(self, size: tuple[int, int] | None = None) -> tuple[tuple[int, int], ...]:
        """Return the (height, width) of each stage's map, in tokens, for images of ``size``."""
        height, width = size or self.input_size
        sizes = []
        for stage in self.stages:
            height, width = height // stage.patch, width // stage.patch
            sizes.append((height, width))
        return tuple(sizes)


class S2MLPSpec(PyramidSpec):
    """S2-MLP v1 (arXiv 2106.07477), v2 (arXiv 2108.01072) and everything between."""

    family: Literal["s2mlp"] = "s2mlp"
    norm: Norm
    patch_norm: bool = Field(description="A norm after each patch layer (v1).")
    head_norm: bool = Field(description="A norm after the last block, before the pooling.")
    mixer: Mixer

    @model_validator(mode="after")
    def _channels_fit(self) -> S2MLPSpec:
        parts = [
            (len(split), f"{len(split)} directions, each of as many channels", "splits")
            for split in filter(None, self.mixer.splits)
        ]
        if self.mixer.fusion == "split-attention":
            reduction = self.mixer.reduction
            parts.append((reduction, f"mixer.reduction = {reduction}", "reduction"))
        for index, stage in enumerate(self.stages):
            for number, what, key in parts:
                check_channels(index, stage, number, what, ("mixer", key))
        return self


def check_channels(index: int, stage: Stage, parts: int, what: str, *at: KeyPath) -> None:
    """Refuse the channels of a stage that ``parts``, written at the key ``at``, do not divide."""
    if stage.dim % parts:
        found = f"{stage.dim} channels for {what}"
        raise misfit(found, f"a multiple of {parts}", ("stages", index, "dim"), *at)


def check_sizes(size: tuple[int, int], stages: Sequence[Stage], key: str = "input_size") -> None:
    """Refuse an image size that some stage's patches do not divide, and absurdly large maps."""
    asked = "x".join(map(str, size))
    unit = math.prod(stage.patch for stage in stages)
    near = "x".join(str(max(round(side / unit), 1) * unit) for side in size)
    height, width = size
    for index, stage in enumerate(stages):
        if height % stage.patch or width % stage.patch:
            raise misfit(
                f"{asked}, which the patches of stage {index} do not divide",
                f"multiples of {unit}, such as {near}",
                (key,),
                *(("stages", earlier, "patch") for earlier in range(index + 1)),
            )
        height, width = height // stage.patch, width // stage.patch
        values = height * width * stage.dim * stage.expansion
        if values > MAX_VALUES:
            raise misfit(
                f"a map of {values:,} values",
                f"at most {MAX_VALUES:,}; lower input_size, dim or expansion",
                ("stages", index, "dim"),
            )
