"""The stand-alone shift as one Triton kernel: every element is read once and written once.

The backward pass is a gather too. A replicated edge pixel was read by two outputs (four in the
corner of a diagonal), so every input pixel sums the gradients of the outputs that read it: no
atomics, the same result every time, float32 between load and store.
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
from torch.autograd.function import once_differentiable

from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.shifts.triton_support import (
    offset_table,
    on_device,
    power_of_two_block,
    unavailable,
)
from s2mlp_cli.shifts.types import ShiftFunction, ShiftWork

# Positions per program: 64 x 64 channels in a 2-byte type are 8 KiB in flight.
_POSITIONS = 64


@triton.jit
def _tile(
    positions, height, width, size, channel_blocks, segment_blocks,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Return the positions (b, h, w) and channels of this program, and the group it is in."""
    program = tl.program_id(0)  # 32-bit up to the strides: divisions of 64 bits are slow
    block = program % channel_blocks
    group = block // segment_blocks
    inside = (block % segment_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    position = (program // channel_blocks) * BLOCK_P + tl.arange(0, BLOCK_P)
    mask = (position < positions)[:, None] & (inside < size)[None, :]
    column = position % width
    row = position // width % height
    image = (position // width // height).to(tl.int64)
    return group, image, row, column, group * size + inside, mask


@triton.jit
def source_of(row, column, offset, height, width):
    """Return the row and column that an output reads: shifted by the two numbers at ``offset``."""
    from_row = tl.minimum(tl.maximum(row - tl.load(offset), 0), height - 1)
    from_column = tl.minimum(tl.maximum(column - tl.load(offset + 1), 0), width - 1)
    return from_row, from_column


@triton.jit
def _reader(index, offset, size, MOVED: tl.constexpr):
    """Return an output of one axis that may have read ``index``, and whether it did.

    That is the output at index + offset where it is inside, and the output at the index itself
    where content enters by that edge.
    """
    if MOVED:
        reader = index + offset
        read = (reader >= 0) & (reader < size)
    else:
        reader = index
        read = index == tl.where(offset > 0, 0, tl.where(offset < 0, size - 1, -1))
    return reader, read


@triton.jit
def sum_of_readers(
    grad, row, column, offset, height, width, row_stride, column_stride, mask,
    INDEX: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Sum, for every input pixel, the gradients of the outputs that read it.

    Two rows times two columns are four masked loads; away from the edges only one mask is true.

    ``grad`` points to row 0, column 0 of each position's image and channel; ``offset`` to dh and
    dw. INDEX is an integer type that the offsets within an image fit in, SUM the sum's type.
    """
    dh, dw = tl.load(offset), tl.load(offset + 1)
    total = tl.full(mask.shape, 0, SUM)
    for moved_along_rows in tl.static_range(2):
        reader_row, row_reads = _reader(row, dh, height, moved_along_rows)
        for moved_along_columns in tl.static_range(2):
            reader_column, column_reads = _reader(column, dw, width, moved_along_columns)
            reader = reader_row.to(INDEX) * row_stride + reader_column.to(INDEX) * column_stride
            reads = mask & (row_reads & column_reads)[:, None]
            total += tl.load(grad + reader[:, None], mask=reads, other=0).to(SUM)
    return total


@triton.jit
def _shift_kernel(
    x, out, offsets, positions, height, width, size, channel_blocks, segment_blocks,
    x_b, x_h, x_w, x_c, out_b, out_h, out_w, out_c,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """out[b, h, w, c] = x[b, clamp(h - dh), clamp(w - dw), c]."""
    group, image, row, column, channel, mask = _tile(
        positions, height, width, size, channel_blocks, segment_blocks, BLOCK_P, BLOCK_C
    )
    from_row, from_column = source_of(row, column, offsets + 2 * group, height, width)
    source = image * x_b + from_row.to(tl.int64) * x_h + from_column.to(tl.int64) * x_w
    target = image * out_b + row.to(tl.int64) * out_h + column.to(tl.int64) * out_w
    moved = tl.load(x + source[:, None] + (channel.to(tl.int64) * x_c)[None, :], mask=mask)
    tl.store(out + target[:, None] + (channel.to(tl.int64) * out_c)[None, :], moved, mask=mask)


@triton.jit
def _unshift_kernel(
    grad, out, offsets, positions, height, width, size, channel_blocks, segment_blocks,
    grad_b, grad_h, grad_w, grad_c, out_b, out_h, out_w, out_c,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Give every input pixel the gradients of the outputs that read it."""
    group, image, row, column, channel, mask = _tile(
        positions, height, width, size, channel_blocks, segment_blocks, BLOCK_P, BLOCK_C
    )
    grad += (image * grad_b)[:, None] + (channel.to(tl.int64) * grad_c)[None, :]
    total = sum_of_readers(
        grad, row, column, offsets + 2 * group, height, width, grad_h, grad_w, mask, tl.int64, SUM
    )
    target = image * out_b + row.to(tl.int64) * out_h + column.to(tl.int64) * out_w
    tl.store(
        out + target[:, None] + (channel.to(tl.int64) * out_c)[None, :],
        total.to(out.dtype.element_ty),
        mask=mask,
    )


def _launch(kernel: Any, x: Tensor, directions: Directions, **constants: Any) -> Tensor:
    """Run a kernel over all positions and groups of ``x`` (B,H,W,C); the output is contiguous."""
    batch, height, width, channels = x.shape
    count = len(list(groups(channels, directions)))  # refuses channels that do not divide
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if not out.numel():
        return out
    size = channels // count
    block = power_of_two_block(size, largest=128)
    positions = batch * height * width
    segment_blocks = triton.cdiv(size, block)
    channel_blocks = segment_blocks * count
    with on_device(x):
        kernel[(triton.cdiv(positions, _POSITIONS) * channel_blocks,)](
            x, out, offset_table((directions,), x.device), positions, height, width, size,
            channel_blocks, segment_blocks, *x.stride(), *out.stride(),
            BLOCK_P=_POSITIONS, BLOCK_C=block, **constants,
        )  # fmt: skip
    return out


def unshift(grad: Tensor, directions: Directions) -> Tensor:
    """Return the gradient of a shift's input, B,H,W,C, from that of its output."""
    wide = tl.float64 if grad.dtype == torch.float64 else tl.float32
    return _launch(_unshift_kernel, grad, directions, SUM=wide)


class TritonShift(torch.autograd.Function):
    """The shift and its transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, directions: Directions) -> Tensor:
        """Shift ``x`` (B,H,W,C)."""
        ctx.directions = directions
        return _launch(_shift_kernel, x, directions)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Sum the gradients of the outputs that read each pixel."""
        return unshift(grad, ctx.directions), None


def shift_triton(x: Tensor, directions: Directions) -> Tensor:
    """Shift ``x`` (B,H,W,C, any strides) by one kernel."""
    shifted: Tensor = TritonShift.apply(x, directions)
    return shifted


IMPLEMENTATION = ShiftFunction(
    "triton",
    "one Triton kernel, one read and one write",
    shift_triton,
    unavailable=unavailable,
    # One read and one write of every split that is shifted.
    work=lambda splits, fusion: ShiftWork(maps=2 * sum(map(bool, splits)), products=0),
)
