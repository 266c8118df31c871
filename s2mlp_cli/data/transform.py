"""From the bytes of an image to the pixels of a network's input: uint8, normalised on the device.

Both ways resize the short side to ``input size / crop_pct`` and keep the centre:

- ``timm`` applies timm's evaluation transform itself: its pixels, bit for bit.
- ``box`` resamples only the box that the crop keeps. Filter and sample positions are the same; the
  box's corners are rounded differently, which moves a value by at most one grey level.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from s2mlp_cli.records.validate import Preprocessing

Pixels = NDArray[np.uint8]
Transform = Callable[[Image.Image], Pixels]
"""An RGB image to (height, width, 3)."""

BROKEN = (
    OSError,
    UnidentifiedImageError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    TypeError,
    IndexError,
    EOFError,
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What reading and decoding a damaged image raises."""

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}


def decode(content: bytes, transform: Transform) -> Pixels:
    """Decode an encoded image and transform it to (height, width, 3).

    Raises:
        One of :data:`BROKEN`: the image is damaged.
    """
    with Image.open(io.BytesIO(content)) as image:
        return transform(image.convert("RGB"))


def make_transform(config: Preprocessing) -> Transform:
    """Return the transform that ``config`` names."""
    return BoxTransform(config) if config.transform == "box" else TimmTransform(config)


class BoxTransform:
    """Resize only the box of the source image that the centre crop keeps."""

    def __init__(self, config: Preprocessing) -> None:
        self.config = config

    def __call__(self, image: Image.Image) -> Pixels:
        """Return the crop of (height, width) as the configuration has it."""
        height, width = self.config.input_size
        box = crop_box(image.size, self.config)
        kept = image.resize((width, height), _FILTERS[self.config.interpolation], box=box)
        return np.asarray(kept)


class TimmTransform:
    """timm's own evaluation transform, up to the uint8 pixels before its normalisation."""

    def __init__(self, config: Preprocessing) -> None:
        from timm.data import create_transform

        self._transform: Any = create_transform(
            input_size=config.input_size,
            is_training=False,
            use_prefetcher=True,  # normalised on the device, as timm's loader does
            interpolation=config.interpolation,
            crop_pct=config.crop_pct,
            mean=config.mean,
            std=config.std,
        )

    def __call__(self, image: Image.Image) -> Pixels:
        """Return the crop of (height, width) as the configuration has it."""
        pixels: Pixels = np.asarray(self._transform(image)).transpose(1, 2, 0)
        return pixels


def resized_size(size: tuple[int, int], config: Preprocessing) -> tuple[int, int]:
    """Return (width, height) of the whole image after the resize that precedes the crop."""
    width, height = size
    target_height, target_width = (math.floor(s / config.crop_pct) for s in config.input_size)
    if target_height == target_width:  # torchvision truncates the long side
        short, long = sorted(size)
        new_long = int(target_height * long / short)
        return (target_width, new_long) if width <= height else (new_long, target_height)
    ratio = min(height / target_height, width / target_width)  # timm rounds both sides
    return round(width / ratio), round(height / ratio)


def crop_box(size: tuple[int, int], config: Preprocessing) -> tuple[float, float, float, float]:
    """Return the (left, top, right, bottom) of the source image that the centre crop keeps.

    Args:
        size: (width, height) of the source image.
        config: the input size and the crop ratio.
    """
    resized = resized_size(size, config)
    kept = config.input_size[::-1]
    first = [round((whole - part) / 2) for whole, part in zip(resized, kept, strict=True)]
    scale = [source / whole for source, whole in zip(size, resized, strict=True)]
    left, top = (f * s for f, s in zip(first, scale, strict=True))
    right, bottom = (
        min((f + part) * s, float(source))
        for f, part, s, source in zip(first, kept, scale, size, strict=True)
    )
    return left, top, right, bottom
