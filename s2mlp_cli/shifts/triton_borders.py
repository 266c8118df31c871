"""The border sums of a map (:mod:`s2mlp_cli.shifts.borders`) as one Triton kernel."""

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

from s2mlp_cli.shifts.triton_support import on_device, power_of_two_block


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


def dot_type(x: Tensor) -> Any:
    """Return the type of a matrix product's operands, as Triton names it.

    The interpreter keeps bfloat16 in integers and multiplies those: there, and for float32, the
    operands are float32, which represents every half type exactly.
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
        with on_device(x):
            _border_kernel[(batch, triton.cdiv(channels, block))](
                x, out, height, width, channels, *x.stride(),
                POSITIONS=height * width, ROWS=rows, BLOCK_P=64, BLOCK_C=block,
                OPERAND=dot_type(x),
            )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
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


def triton_border_sums(x: Tensor, corners: bool) -> Tensor:
    """Return what :func:`s2mlp_cli.shifts.borders.border_sums` does, by one kernel."""
    sums: Tensor = TritonBorderSums.apply(x, corners)
    return sums
