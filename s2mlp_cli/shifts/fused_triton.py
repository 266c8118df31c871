"""The mixer with its shifts inside passes that it makes anyway, as Triton kernels.

v2: the split attention is known before the maps (:mod:`s2mlp_cli.shifts.borders`), so one pass
reads the K*C channels of the expanded map at shifted positions and writes their weighted sum: no
shifted copies, no stack, no pass for the attention. v1: the GELU writes its result to the shifted
position. The matrix products stay the library's. DESIGN.md has the equations and the bytes moved.
"""

# Kernels are typed by Triton, and write their compile-time constants in capitals.
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# ruff: noqa: N803
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from s2mlp_cli.directions import Directions, Splits
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.borders import fused_work, fusion_weights
from s2mlp_cli.shifts.triton_borders import triton_border_sums
from s2mlp_cli.shifts.triton_shift import source_of, sum_of_readers, unshift
from s2mlp_cli.shifts.triton_support import (
    offset_table,
    on_device,
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
def _tile(
    size, position_blocks, channel_blocks, segment_blocks,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Return a program's segment of channels, image, tile of it, positions and channels there.

    A program stays within one image, so that its weights are a row. Inside one segment of channels
    the offsets of every split are two scalars, so channels are read in long aligned runs.
    """
    program = tl.program_id(0)
    block = program % channel_blocks
    segment = block // segment_blocks
    inside = (block % segment_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    tile = program // channel_blocks % position_blocks
    position = tile * BLOCK_P + tl.arange(0, BLOCK_P)
    # 64 bits only for where the image begins: inside it 32 do, and cost half.
    image = (program // channel_blocks // position_blocks).to(tl.int64)
    return segment, image, tile, position, segment * size + inside, inside < size


@triton.jit
def _weighted_kernel(
    y, weights, start, offsets, out,
    height, width, channels, size, segments, position_blocks, channel_blocks, segment_blocks,
    SPLITS: tl.constexpr, WEIGHTED: tl.constexpr, GELU: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Write start + the sum over splits of weight * y at the shifted position."""
    segment, image, _, position, channel, in_segment = _tile(
        size, position_blocks, channel_blocks, segment_blocks, BLOCK_P, BLOCK_C
    )
    row, column = position // width, position % width
    mask = (position < height * width)[:, None] & in_segment[None, :]
    y += image * height * width * SPLITS * channels
    out += image * height * width * channels
    total = tl.full((BLOCK_P, BLOCK_C), 0, tl.float32)
    if WEIGHTED:
        total += tl.load(start + image * channels + channel, mask=in_segment, other=0)[None, :]
        weights += image * SPLITS * channels
    for split in tl.static_range(SPLITS):
        at = offsets + 2 * (split * segments + segment)
        from_row, from_column = source_of(row, column, at, height, width)
        source = (from_row * width + from_column) * SPLITS + split
        value = tl.load(y + (source * channels)[:, None] + channel[None, :], mask=mask, other=0)
        value = value.to(tl.float32)
        if GELU:
            value = gelu(value)
        if WEIGHTED:
            weight = tl.load(weights + split * channels + channel, mask=in_segment, other=0)
            value *= weight[None, :]
        total += value
    target = position * channels
    tl.store(out + target[:, None] + channel[None, :], total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _add(a, b):
    """Return a sum, for ``tl.reduce``."""
    return a + b


@triton.jit
def _weighted_backward_kernel(
    grad, y, weights, offsets, grad_y, partial, started,
    height, width, channels, size, segments, position_blocks, channel_blocks, segment_blocks,
    SPLITS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Gradients of the weighted sum: of y where it was read, of weights and start per tile.

    Each pixel of split k sums the gradients of the outputs that read it, as in the shift's own
    backward pass; weighted that is the gradient of y, and times y, over positions, that of the
    weights. The outputs' gradients are read from the cache again for every split: from memory, one
    map is read for them, K for y, and K are written.
    """
    segment, image, tile, position, channel, in_segment = _tile(
        size, position_blocks, channel_blocks, segment_blocks, BLOCK_P, BLOCK_C
    )
    row, column = position // width, position % width
    mask = (position < height * width)[:, None] & in_segment[None, :]
    grad += image * height * width * channels
    y += image * height * width * SPLITS * channels
    grad_y += image * height * width * SPLITS * channels
    weights += image * SPLITS * channels
    partial += (image * position_blocks + tile) * SPLITS * channels
    started += (image * position_blocks + tile) * channels
    here = tl.load(grad + (position * channels)[:, None] + channel[None, :], mask=mask, other=0)
    tl.store(started + channel, tl.reduce(here.to(tl.float32), 0, _add), mask=in_segment)
    for split in tl.static_range(SPLITS):
        total = sum_of_readers(
            grad + channel[None, :], row, column, offsets + 2 * (split * segments + segment),
            height, width, width * channels, channels, mask, tl.int32, tl.float32,
        )  # fmt: skip
        at = (position * SPLITS + split) * channels
        value = tl.load(y + at[:, None] + channel[None, :], mask=mask, other=0).to(tl.float32)
        weight = tl.load(weights + split * channels + channel, mask=in_segment, other=0)
        tl.store(
            grad_y + at[:, None] + channel[None, :],
            (total * weight[None, :]).to(grad_y.dtype.element_ty),
            mask=mask,
        )
        own = tl.reduce(total * value, 0, _add)
        tl.store(partial + split * channels + channel, own, mask=in_segment)


def _blocks(y: Tensor, splits: Splits) -> dict[str, int]:
    """Return how the channels and positions of ``y`` (B,H,W,K*C) are cut into programs."""
    channels = y.shape[3] // len(splits)
    count = segments(splits)
    size = channels // count
    block = power_of_two_block(size, largest=128)
    segment_blocks = triton.cdiv(size, block)
    return {
        "height": y.shape[1],
        "width": y.shape[2],
        "channels": channels,
        "size": size,
        "segments": count,
        "position_blocks": triton.cdiv(y.shape[1] * y.shape[2], _POSITIONS),
        "channel_blocks": count * segment_blocks,
        "segment_blocks": segment_blocks,
        "SPLITS": len(splits),
        "BLOCK_P": _POSITIONS,
        "BLOCK_C": block,
    }


def _grid(y: Tensor, blocks: dict[str, int]) -> tuple[int]:
    return (len(y) * blocks["position_blocks"] * blocks["channel_blocks"],)


def _weighted_pass(
    y: Tensor, splits: Splits, weights: Tensor | None, start: Tensor | None, gelu: bool
) -> Tensor:
    blocks = _blocks(y, splits)
    out = torch.empty(*y.shape[:3], blocks["channels"], dtype=y.dtype, device=y.device)
    with on_device(y):
        _weighted_kernel[_grid(y, blocks)](
            y.contiguous(), weights, start, offset_table(splits, y.device), out,
            WEIGHTED=weights is not None, GELU=gelu, **blocks,
        )  # fmt: skip
    return out


class WeightedShiftSum(torch.autograd.Function):
    """``start + sum over k of weights_k * shift_k(y_k)``: reads K*C channels once, writes C."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weights: Tensor, start: Tensor, splits: Splits) -> Tensor:
        """Return B,H,W,C of y (B,H,W,K*C), weights (B,K,C) and start (B,C), in y's dtype."""
        ctx.save_for_backward(y, weights)
        ctx.splits = splits
        return _weighted_pass(y, splits, weights.contiguous(), start.contiguous(), gelu=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of y, weights and start: one map is read, K are, and K written."""
        y, weights = ctx.saved_tensors
        blocks = _blocks(y, ctx.splits)
        grad_y = torch.empty(y.shape, dtype=y.dtype, device=y.device)
        tiles = (len(y), blocks["position_blocks"])
        partial = torch.empty(*tiles, *weights.shape[1:], dtype=torch.float32, device=y.device)
        started = torch.empty(*tiles, weights.shape[2], dtype=torch.float32, device=y.device)
        with on_device(y):
            _weighted_backward_kernel[_grid(y, blocks)](
                grad.contiguous(), y.contiguous(), weights.contiguous(),
                offset_table(ctx.splits, y.device), grad_y, partial, started, **blocks,
            )  # fmt: skip
        # Tiles are added up here, in a fixed order: atomics would give another sum every time.
        return grad_y, partial.sum(1), started.sum(1), None


class ShiftedGELU(torch.autograd.Function):
    """``shift(gelu(y))`` in one pass: the GELU is taken where its value is read."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, directions: Directions) -> Tensor:
        """Return B,H,W,C of y (B,H,W,C)."""
        ctx.save_for_backward(y)
        ctx.directions = directions
        return _weighted_pass(y, (directions,), None, None, gelu=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Undo the shift, then the GELU."""
        (y,) = ctx.saved_tensors
        moved = unshift(grad, ctx.directions) if ctx.directions else grad
        return torch.ops.aten.gelu_backward(moved, y), None


def check_supported(x: Tensor, mixer: MixerParameters) -> None:
    """Raise an UnavailableError for what the kernels would compute imprecisely or wrongly."""
    if x.dtype == torch.float64:
        raise UnavailableError("the Triton mixers sum in float32, not float64; use --shift fused")
    kind = mixer.activation
    if isinstance(kind, nn.GELU) and kind.approximate != "none":
        raise UnavailableError(
            f"the Triton kernels have no GELU approximated by {kind.approximate}; use --shift fused"
        )


def expanded(x: Tensor, mixer: MixerParameters) -> tuple[Tensor, Tensor, Tensor]:
    """Return the expanded map y (B,H,W,K*C), its weights (B,K,C) and the start (B,C).

    A shifted constant is itself, so the expansion's bias leaves the map where nothing but a shift
    comes after it: weighted, it is where the pass begins.
    """
    splits = mixer.splits
    if isinstance(mixer.activation, nn.Identity):
        y = F.linear(x, mixer.expand.weight)
        weights = fusion_weights(x, mixer, sums_of=triton_border_sums)
        bias = mixer.expand.bias
    else:
        y = mixer.activation(mixer.expand(x))
        weights = fusion_weights(x, mixer, expanded=y, sums_of=triton_border_sums)
        bias = None
    channels = y.shape[-1] // len(splits)
    weights = weights.expand(len(x), -1, channels)
    if bias is None:
        return y, weights, weights.new_zeros(len(x), channels)
    return y, weights, (weights * bias.to(weights.dtype).reshape(len(splits), -1)).sum(1)


def mix_fused_triton(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Run one mixer on ``x`` (B,H,W,C).

    Raises:
        UnavailableError: float64, which the kernels would round to float32, or a GELU that is
            approximated.
    """
    check_supported(x, mixer)
    if mixer.fusion == "none" and isinstance(mixer.activation, nn.GELU):
        fused = ShiftedGELU.apply(mixer.expand(x), mixer.splits[0])
    else:
        fused = WeightedShiftSum.apply(*expanded(x, mixer), mixer.splits)
    projected: Tensor = mixer.project(fused)
    return projected


IMPLEMENTATION = MixerKernel(
    "fused-triton",
    "attention from border sums, one pass for the shifted sum; both as Triton kernels",
    mix_fused_triton,
    unavailable=unavailable,
    work=fused_work,
)
