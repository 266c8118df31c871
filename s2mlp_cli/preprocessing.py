"""How an image becomes a network's input: what data, models, checkpoints and records agree on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Mean = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocessing(BaseModel):
    """How an image becomes a network's input.

    Attributes:
        transform: ``"box"`` or ``"timm"``; see :mod:`s2mlp_cli.data.transform`.
        input_size: (height, width) of the crop.
        crop_pct: the crop's fraction of the short side after the resize.
        mean, std: per channel, of values in 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    transform: Literal["box", "timm"] = "box"
    input_size: tuple[int, int] = (224, 224)
    crop_pct: float = Field(default=0.9, gt=0, le=1)
    interpolation: Literal["bicubic", "bilinear", "lanczos"] = "bicubic"
    mean: tuple[Mean, Mean, Mean] = IMAGENET_MEAN
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
