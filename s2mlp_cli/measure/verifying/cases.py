"""The inputs of the checks: maps, directions, memory formats, and exact gradients.

Two kinds of numbers make "equal" mean something:

- The input holds random normals. A shift only moves values, so its output must be equal bit for
  bit; a normal fills the whole significand, so that a detour through fewer bits (TF32 has 11,
  bfloat16 8) shows at once.
- The gradient of a shift adds: a pixel at the edge is read up to four times (corner, diagonal
  direction), so its gradient is a sum of up to four upstream gradients, in an order that no
  implementation promises. With random normals the order would show in the last bit. Here the
  upstream gradient holds odd integers below 2^(p-2), for a significand of p bits: every partial
  sum of four is an integer below 2^p and therefore exact, whatever the order, so bit equality
  may be asked of gradients too. Being odd and at least 2^(p-3), each needs p-2 bits, and
  rounding to anything shorter (float32 to TF32: 22 bits to 11) changes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions, Splits
from s2mlp_cli.measure import torch_support
from s2mlp_cli.records.verify import DTYPE_NAMES

Shape = tuple[int, int, int, int]

# Name on the command line -> dtype.
DTYPES = {name: {**torch_support.DTYPES, "fp64": torch.float64}[name] for name in DTYPE_NAMES}

# B,H,W,C: maps of one row, one column, one pixel, odd and even sides, several widths.
SHAPES: tuple[Shape, ...] = (
    (2, 1, 1, 16),
    (2, 1, 7, 16),
    (2, 7, 1, 16),
    (2, 2, 2, 16),
    (1, 5, 3, 48),
    (3, 8, 9, 8),
    (2, 14, 14, 24),
)

V1: Directions = ("right", "left", "down", "up")
V2_FIRST: Directions = ("down", "up", "right", "left")
EIGHT: Directions = (
    *("up", "down", "left", "right"),
    *("up-left", "up-right", "down-left", "down-right"),
)

# Eight in another order, one of them twice: a table kept by count or by name shows.
REORDERED: Directions = (
    *("down-right", "left", "up-left", "down"),
    *("left", "up-right", "right", "down-left"),
)

# One, two and three maps; none, one, two, four and eight directions; v1's and v2's orders.
SPLITS: tuple[Splits, ...] = (
    ((),),
    (("right",),),
    (("up-left",),),
    (("down", "left"),),
    (V1,),
    (EIGHT,),
    (V1, REORDERED),
    (V2_FIRST, V1, ()),
)

# Each direction as the whole list of a map: an implementation may treat a list of one apart.
ALONE: tuple[Splits, ...] = tuple(
    tuple((direction,) for direction in half) for half in (EIGHT[:4], EIGHT[4:])
)

_ALONE_SHAPE: Shape = (2, 3, 4, 8)

# Over 2^16 elements, and no block of a kernel divides it: an index too narrow, or a second block
# that begins in the wrong place, shows.
LARGE: Shape = (1, 33, 32, 192)

# Dtype -> the splits of its large map: all of them once, since arithmetic in half is slow.
LARGE_SPLITS: dict[str, Splits] = {
    "fp32": (V1, V2_FIRST, EIGHT),
    "fp64": (V1,),
    "bf16": (EIGHT,),
    "fp16": (V2_FIRST,),
}

# The map of S2-MLP-deep at 224x224, where the smear of the papers' pseudocode is reported.
PAPER_MAP: Shape = (1, 14, 14, 384)


def _channels_first(x: Tensor) -> Tensor:
    """Return ``x`` stored as B,C,H,W: what a convolution hands over."""
    return x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


def _strided(x: Tensor) -> Tensor:
    """Return ``x`` as every second column and channel of a larger storage."""
    batch, height, width, channels = x.shape
    storage = torch.full(
        (batch, height, 2 * width, 2 * channels), math.nan, dtype=x.dtype, device=x.device
    )
    storage[:, :, ::2, ::2] = x
    return storage[:, :, ::2, ::2]


# Name -> a function that returns the same values of B,H,W,C, stored in that way.
MEMORY_FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "channels-first": _channels_first,
    "strided": _strided,
}


@dataclass(frozen=True)
class CheckInput:
    """What one check runs on."""

    shape: Shape
    splits: Splits
    dtype: str
    memory_format: str

    def normals(self, channels: int, device: torch.device, generator: torch.Generator) -> Tensor:
        """Return random normals, B,H,W,``channels``, in this dtype and memory format."""
        size = (*self.shape[:3], channels)
        values = torch.randn(size, generator=generator, dtype=torch.float64)
        return MEMORY_FORMATS[self.memory_format](values.to(device, DTYPES[self.dtype]))

    def odd_integers(
        self, channels: int, device: torch.device, generator: torch.Generator
    ) -> Tensor:
        """Return an upstream gradient of which four add up exactly (see the module's text)."""
        dtype = DTYPES[self.dtype]
        low = 2 ** (significand_bits(dtype) - 3)
        size = (*self.shape[:3], channels)
        odd = 2 * torch.randint(low // 2, low, size, generator=generator) + 1
        signs = 2 * torch.randint(0, 2, size, generator=generator) - 1
        return MEMORY_FORMATS[self.memory_format]((odd * signs).to(device, dtype))


def significand_bits(dtype: torch.dtype) -> int:
    """Return p, the bits of a significand with its hidden one: 24 for float32, 8 for bfloat16."""
    return 1 - round(math.log2(torch.finfo(dtype).eps))


def check_inputs(dtype: str) -> Iterator[CheckInput]:
    """Yield every pair of shape and splits in ``dtype``, then each direction alone and a large map.

    The memory formats take turns: in each dtype every shape and all splits meet each format, and
    over three dtypes every pair of shape and splits does.
    """
    formats = tuple(MEMORY_FORMATS)
    start = tuple(DTYPES).index(dtype)
    for i, shape in enumerate(SHAPES):
        for j, splits in enumerate(SPLITS):
            yield CheckInput(shape, splits, dtype, formats[(start + i + j) % len(formats)])
    for i, splits in enumerate(ALONE):
        yield CheckInput(_ALONE_SHAPE, splits, dtype, formats[(start + i) % len(formats)])
    yield CheckInput(LARGE, LARGE_SPLITS[dtype], dtype, formats[start % len(formats)])


def smallest_input(dtype: str) -> CheckInput:
    """Return the smallest case that touches every operator: does this dtype run at all?"""
    return CheckInput((1, 2, 2, 8), (V1, ()), dtype, "contiguous")
