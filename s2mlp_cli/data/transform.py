"""From the bytes of an image to the pixels of a network's input: uint8, normalised on the device.

Both ways resize the short side to ``input size / crop_pct`` and keep the centre:

- ``timm`` applies timm's evaluation transform itself: its pixels, bit for bit.
- ``box`` resamples only the box that the crop keeps. Filter and sample positions are the same; the
  box's corners are rounded differently, which moves a value by at most one grey level. Over images
  of all sizes that happens to some 2 values in a million; of a single small crop, to 3 in 10,000.
"""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from s2mlp_cli.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]
# How far, in source pixels, a sample of ``box`` may be off the one of the whole image.
_ROUNDING = 1e-6

# Up to this denominator of the scale values fall on ties, half a grey level, which any rounding of
# a position would break: corners are exact then. Where the image hardly shrinks they are weighed
# from fewer pixels, and ties are more frequent.
_SIMPLE, _SIMPLE_ENLARGED = 32, 128

# How many pixels around the crop are tried before the whole axis is taken.
_NEAR = 256

# Height over width from which Pillow 13 resizes columns first; it begins at 2.
_TALL = 1.9

# Long side over short side of an image that is none: resized to 248 pixels across, a strip of
# 1x10,000 pixels would become one of 600 million.
_STRIP = 100

# An RGB image to (height, width, 3).
Transform = Callable[[Image.Image], Pixels]

# What reading and decoding a damaged image raises.
BROKEN = (
    OSError,
    UnidentifiedImageError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    TypeError,
    IndexError,
    EOFError,
    AssertionError,  # Pillow's, of a palette that the file does not have
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

# name -> Pillow's filter, and how far it reaches, in pixels of the coarser image.
_FILTERS = {
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
    "bilinear": (Image.Resampling.BILINEAR, 1.0),
    "lanczos": (Image.Resampling.LANCZOS, 3.0),
}


def decode(content: bytes, transform: Transform) -> Pixels:
    """Decode an encoded image and transform it to (height, width, 3).

    Raises:
        One of :data:`BROKEN`: the image is damaged, or over a limit that is named.
    """
    with warnings.catch_warnings(), _room_for_text():
        # what is odd in a camera's remarks is not in the pixels; Pillow would decode twice as many
        # pixels as it warns of, in more than a GiB
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content)) as image:
            if max(image.size) > _STRIP * min(image.size):
                raise Image.DecompressionBombError(
                    "its {}x{} pixels are over the limit of {} for the long side over the "
                    "short one".format(*image.size, _STRIP)
                )
            image.load()
            if image.mode == "RGB":
                return transform(image)
            pixels = image.convert("RGB")
            image.close()  # frees as much memory again
            return transform(pixels)


@contextmanager
def _room_for_text() -> Iterator[None]:
    """Let a PNG carry as much text in one chunk as Pillow allows for all of them together."""
    before = PngImagePlugin.MAX_TEXT_CHUNK
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
    try:
        yield
    finally:
        PngImagePlugin.MAX_TEXT_CHUNK = before


def why_broken(error: Exception) -> str:
    """Return in one line why an image cannot be decoded: the same words in every run.

    Pillow puts the addresses of objects into its messages.
    """
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known format"
    if "MAX_TEXT" in str(error):
        limit = PngImagePlugin.MAX_TEXT_MEMORY
        return f"its text is over Pillow's limit of {limit:,} bytes in a PNG"
    if pixels := re.search(r"\((\d+) pixels\) exceeds limit", str(error)):
        return f"its {int(pixels[1]):,} pixels are over the limit of {Image.MAX_IMAGE_PIXELS:,}"
    if isinstance(error, Image.DecompressionBombError):
        return str(error)
    text = re.sub(r"<[\w.]+ object at 0x[0-9a-fA-F]+>", "it", str(error))
    return f"{type(error).__name__}: {' '.join(text.split())}"


def make_transform(config: Preprocessing) -> Transform:
    """Return the transform that ``config`` names; worker processes can be given it."""
    if config.transform == "box":
        return partial(_box, config)
    from timm.data import create_transform

    transform = create_transform(
        input_size=config.input_size,
        is_training=False,
        use_prefetcher=True,  # normalised on the device, as timm's loader does
        interpolation=config.interpolation,
        crop_pct=config.crop_pct,
        mean=config.mean,
        std=config.std,
    )
    return partial(_timm, transform)


def _timm(transform: Callable[[Image.Image], Any], image: Image.Image) -> Pixels:
    pixels: Pixels = np.asarray(transform(image)).transpose(1, 2, 0)
    return pixels


def _box(config: Preprocessing, image: Image.Image) -> Pixels:
    """Resize only the box of the source image that the centre crop keeps.

    Along rows first, then along columns, each by a call of its own: that is the order in which
    Pillow resizes a whole image, but for a box it may choose the other and round differently.
    From version 13 on it does so for whole images too if they are tall: those are resized whole.
    So are images that are enlarged: they are small, and a rounded position weighs more there.
    """
    filter_, support = _FILTERS[config.interpolation]
    exact = config.interpolation != "bicubic"  # simpler weights fall on ties more often
    resized = resized_size(image.size, config)
    kept = config.input_size[::-1]
    firsts = [round((whole - part) / 2) for whole, part in zip(resized, kept, strict=True)]
    enlarges = any(new > old for old, new in zip(image.size, resized, strict=True))
    if image.height > _TALL * image.width or enlarges:
        whole = np.asarray(image.resize(resized, filter_))
        return whole[firsts[1] : firsts[1] + kept[1], firsts[0] : firsts[0] + kept[0]]
    x, y = (
        resample_span(source, whole, first, part, exact)
        for source, whole, first, part in zip(image.size, resized, firsts, kept, strict=True)
    )
    # the rows of the source image that the filter reaches
    reach = support * max((y.stop - y.start) / (y.last - y.first), 1.0) + 1
    top = max(math.floor(y.start - reach), 0)
    bottom = min(math.ceil(y.stop + reach), image.height)
    rows = image.crop((0, top, image.width, bottom)).resize(
        (x.last - x.first, bottom - top), filter_, (x.start, 0, x.stop, bottom - top)
    )
    crop = rows.resize(
        (rows.width, y.last - y.first), filter_, (0, y.start - top, rows.width, y.stop - top)
    )
    return np.asarray(crop)[y.skip : y.skip + kept[1], x.skip : x.skip + kept[0]]


class Span(NamedTuple):
    """What is resampled along one axis.

    Attributes:
        first, last: the pixels of the resized image that are computed: first to last - 1.
        skip: how many of them are before the crop.
        start, stop: the same range in the source image, in its pixels.
    """

    first: int
    last: int
    skip: int
    start: float
    stop: float


@lru_cache(maxsize=65_536)
def resample_span(source: int, resized: int, first: int, kept: int, exact: bool = False) -> Span:
    """Return the narrowest range around the crop whose ends Pillow can represent.

    Pillow takes a box in float32, so that most corners would be rounded by some 1e-5 pixels, and
    one value in thirty with them. A little wider, corners are found that fall on a float32; the
    whole axis always does.

    Args:
        source: pixels of the source image along this axis.
        resized: pixels of the whole resized image.
        first: the first of them that the crop keeps.
        kept: how many it keeps.
        exact: no rounding at all.
    """
    denominator = resized // math.gcd(source, resized)
    exact |= denominator <= (_SIMPLE if source > 1.25 * resized else _SIMPLE_ENLARGED)
    near = range(_NEAR)
    begins = np.array([first - n for n in near if n < first] + [0])
    ends = np.array([first + kept + n for n in near if n < resized - first - kept] + [resized])
    left, right = begins * source / resized, ends * source / resized
    starts, stops = left.astype(np.float32), right.astype(np.float32)
    # As Pillow computes it: the length in float32, positions from the start on in float64.
    reached = starts[:, None] + (stops[None, :] - starts[:, None]).astype(np.float64)
    error = np.maximum(np.abs(starts - left)[:, None], np.abs(reached - right[None, :]))
    width = np.where(
        error <= (0.0 if exact else _ROUNDING),
        ends[None, :] - begins[:, None],
        np.iinfo(np.int64).max,
    )
    row, column = np.unravel_index(int(width.argmin()), width.shape)
    begin, end = int(begins[row]), int(ends[column])
    return Span(begin, end, first - begin, float(starts[row]), float(stops[column]))


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
