"""The passes of the fused mixer as Triton kernels; the matrix products stay the library's.

``border_sums`` reads the input once, the weighted sum reads the K*C channels of the expanded map
once at shifted positions and writes C. The backward passes are those of the plain form.
"""

# Kernels are typed by Triton, and write their compile-time constants in capitals.
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# ruff: noqa: N803
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2mlp_cli.directions import Directions
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.borders import Splits
from s2mlp_cli.shifts.passes import (
    Passes,
    ShiftedGELU,
    WeightedShiftSum,
    expand_and_fuse,
    fused_work,
)
from s2mlp_cli.shifts.triton_support import (
    offset_table,
    power_of_two_block,
    segments,
    unavailable,
)
from s2mlp_cli.shifts.types import MixerKernel, MixerParameters

# Positions per program of the weighted sum, all of one image: its weights are a row.
_POSITIONS = 64


@triton.jit
def gelu(x):
    """Return x * Phi(x), exactly."""
    return 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))


@triton.jit
def _border_kernel(
    x, out, height, width, channels, x_b, x_h, x_w, x_c,
    POSITIONS: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, OPERAND: tl.constexpr,
):  # fmt: skip
    """Border sums as a matrix product: a 4 x H*W matrix of -1, 0, 1 times the map of one image.

    The small factor is exact in every type, so the products are exact and the sums float32. A
    matrix product takes 16 rows; the 12 that are not needed are zero and cost no memory.

    POSITIONS is height * width, known to the compiler: the interpreter of Triton 3.6 cannot make
    the bound of a loop of a computed number (NumPy 2.4 converts no array of one element).
    """
    image = tl.program_id(0).to(tl.int64)
    x += image * x_b
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    kind = tl.arange(0, 16)[:, None]
    total = tl.full((16, BLOCK_C), 0, tl.float32)
    for start in range(0, POSITIONS, BLOCK_P):
        position = start + tl.arange(0, BLOCK_P)
        row, column = position // width, position % width
        rows = (row == 0).to(tl.float32) - (row == height - 1).to(tl.float32)
        columns = (column == 0).to(tl.float32) - (column == width - 1).to(tl.float32)
        counted = tl.where(kind == 0, 1.0, tl.where(kind == 1, rows[None, :], columns[None, :]))
        counted = tl.where(kind == 3, (rows * columns)[None, :], counted)
        counted = tl.where(kind < ROWS, counted, 0.0)
        values = tl.load(
            x + (row * x_h + column * x_w)[:, None] + (channel * x_c)[None, :],
            mask=(position < POSITIONS)[:, None] & (channel < channels)[None, :],
            other=0,
        )
        total = tl.dot(counted.to(OPERAND), values.to(OPERAND), total, input_precision="ieee")
    tl.store(
        out + (image * ROWS + kind) * channels + channel[None, :],
        total,
        mask=(kind < ROWS) & (channel < channels)[None, :],
    )


@triton.jit
def _weighted_kernel(
    y, weights, start, offsets, out,
    height, width, channels, size, segments, position_blocks, channel_blocks, segment_blocks,
    SPLITS: tl.constexpr, WEIGHTED: tl.constexpr, GELU: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Write start + the sum over splits of weight * y at the shifted position.

    A program stays within one image, so that its weights are a row.

    Inside one segment of channels the offsets of every split are two scalars, so the channels of
    a tile are read in long aligned runs.
    """
    program = tl.program_id(0)
    block = program % channel_blocks
    segment = block // segment_blocks
    inside = (block % segment_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = segment * size + inside
    position = program // channel_blocks % position_blocks * BLOCK_P + tl.arange(0, BLOCK_P)
    row, column = position // width, position % width
    in_segment = inside < size
    mask = (position < height * width)[:, None] & in_segment[None, :]
    # 64 bits only for where the image begins: inside it 32 do, and cost half.
    image = (program // channel_blocks // position_blocks).to(tl.int64)
    y += image * height * width * SPLITS * channels
    out += image * height * width * channels
    total = tl.full((BLOCK_P, BLOCK_C), 0, tl.float32)
    if WEIGHTED:
        total += tl.load(start + image * channels + channel, mask=in_segment, other=0)[None, :]
        weights += image * SPLITS * channels
    for split in tl.static_range(SPLITS):
        dh = tl.load(offsets + 2 * (split * segments + segment))
        dw = tl.load(offsets + 2 * (split * segments + segment) + 1)
        from_row = tl.minimum(tl.maximum(row - dh, 0), height - 1)
        from_column = tl.minimum(tl.maximum(column - dw, 0), width - 1)
        source = ((from_row * width + from_column) * SPLITS + split) * channels
        value = tl.load(y + source[:, None] + channel[None, :], mask=mask, other=0)
        value = value.to(tl.float32)
        if GELU:
            value = gelu(value)
        if WEIGHTED:
            weight = tl.load(weights + split * channels + channel, mask=in_segment, other=0)
            value *= weight[None, :]
        total += value
    target = position * channels
    tl.store(out + target[:, None] + channel[None, :], total.to(out.dtype.element_ty), mask=mask)


def dot_type(x: Tensor) -> Any:
    """Return the type of a matrix product's operands, as Triton names it.

    The interpreter keeps bfloat16 in integers and multiplies those: there, and for float32, the
    operands are float32, which holds every half type exactly.
    """
    native = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
    return native.get(x.dtype, tl.float32) if x.is_cuda else tl.float32


class TritonBorderSums(torch.autograd.Function):
    """Border sums of a map; the gradient of a sum is that of its terms."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, corners: bool) -> Tensor:
        """Return B,3,C or B,4,C in float32 of ``x`` (B,H,W,C, any strides)."""
        batch, height, width, channels = x.shape
        ctx.shape, ctx.dtype = x.shape, x.dtype
        rows = 4 if corners else 3
        out = torch.empty(batch, rows, channels, dtype=torch.float32, device=x.device)
        block = power_of_two_block(channels, largest=64)
        _border_kernel[(batch, triton.cdiv(channels, block))](
            x, out, height, width, channels, *x.stride(),
            POSITIONS=height * width, ROWS=rows, BLOCK_P=64, BLOCK_C=block, OPERAND=dot_type(x),
        )  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Give each pixel the gradients of the sums in which it is counted."""
        total, rows, columns, *corners = grad.unbind(1)
        out = total[:, None, None].expand(ctx.shape).clone()
        for edge, sign in ((0, 1), (-1, -1)):
            out[:, edge] += sign * rows[:, None]
            out[:, :, edge] += sign * columns[:, None]
            for corner in corners:
                out[:, edge, 0] += sign * corner
                out[:, edge, -1] -= sign * corner
        return out.to(ctx.dtype), None


def _weighted_pass(
    y: Tensor, splits: Splits, weights: Tensor | None, start: Tensor | None, gelu: bool
) -> Tensor:
    batch, height, width = y.shape[:3]
    channels = y.shape[3] // len(splits)
    out = torch.empty(batch, height, width, channels, dtype=y.dtype, device=y.device)
    count = segments(splits)
    size = channels // count
    block = power_of_two_block(size, largest=128)
    position_blocks = triton.cdiv(height * width, _POSITIONS)
    segment_blocks = triton.cdiv(size, block)
    _weighted_kernel[(batch * position_blocks * count * segment_blocks,)](
        y.contiguous(), weights, start, offset_table(splits, y.device), out,
        height, width, channels, size, count, position_blocks, count * segment_blocks,
        segment_blocks, SPLITS=len(splits), WEIGHTED=weights is not None, GELU=gelu,
        BLOCK_P=_POSITIONS, BLOCK_C=block,
    )  # fmt: skip
    return out


class TritonWeightedShiftSum(WeightedShiftSum):
    """The weighted sum as one kernel."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weights: Tensor, start: Tensor, splits: Splits) -> Tensor:
        """Return B,H,W,C of y (B,H,W,K*C), weights (B,K,C) and start (B,C), in y's dtype."""
        ctx.save_for_backward(y, weights)
        ctx.splits = splits
        return _weighted_pass(y, splits, weights.contiguous(), start.contiguous(), gelu=False)


class TritonShiftedGELU(ShiftedGELU):
    """GELU and shift as one kernel."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, directions: Directions, approximate: str) -> Tensor:
        """Return B,H,W,C of y (B,H,W,C)."""
        if approximate != "none":
            raise UnavailableError(
                f"the Triton kernel has no GELU approximated by {approximate}; use --shift fused"
            )
        ctx.save_for_backward(y)
        ctx.directions, ctx.approximate = directions, approximate
        return _weighted_pass(y, (directions,), None, None, gelu=True)


def _border_sums(x: Tensor, corners: bool) -> Tensor:
    sums: Tensor = TritonBorderSums.apply(x, corners)
    return sums


TRITON = Passes(_border_sums, TritonWeightedShiftSum, TritonShiftedGELU)


def mix_fused_triton(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Run one mixer on ``x`` (B,H,W,C).

    Raises:
        UnavailableError: ``x`` is float64, which the kernels would round to float32.
    """
    if x.dtype == torch.float64:
        raise UnavailableError("the Triton mixers sum in float32, not float64; use --shift fused")
    projected: Tensor = mixer.project(expand_and_fuse(x, mixer, TRITON))
    return projected


IMPLEMENTATION = MixerKernel(
    "fused-triton",
    "attention from border sums, one pass for the shifted sum; both as Triton kernels",
    mix_fused_triton,
    unavailable=unavailable,
    work=fused_work,
)
