"""The mixer with its shifts folded into passes that it makes anyway; Triton runs them on a GPU.

v2: the split attention is known before the maps (:mod:`s2mlp_cli.shifts.borders`), so one pass
reads the K*C channels of the expanded map at shifted positions and writes their weighted sum: no
shifted copies, no stack, no pass for the attention. v1: the GELU writes its result to the shifted
position. DESIGN.md has the equations and the bytes moved. The plain passes here are what the
Triton kernels are checked against, and their backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from s2mlp_cli.directions import Directions, destination_and_source, groups
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.borders import (
    BorderSums,
    Splits,
    accumulator,
    attention_work,
    border_sums,
    fusion_weights,
)
from s2mlp_cli.shifts.types import MixerParameters, ShiftWork

# Whether torch.compile keeps the backward passes below: 2.11 loses the gradient of the input.
COMPILES_TRAINING = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 15)


class Region(NamedTuple):
    """Rows, columns and channels that one copy writes, and those that it reads."""

    to_rows: slice
    to_columns: slice
    from_rows: slice
    from_columns: slice
    channels: slice


def _moves(size: int, offset: int) -> Iterator[tuple[slice, slice]]:
    """Yield (to, from) along one axis: the lines that move, then the edge that is replicated."""
    if not offset:
        yield slice(0, size), slice(0, size)
        return
    if size > 1:
        yield destination_and_source(offset)
    edge = slice(0, 1) if offset > 0 else slice(size - 1, size)
    yield edge, edge


def regions(height: int, width: int, channels: int, directions: Directions) -> Iterator[Region]:
    """Yield the copies that make up a shift; their destinations cover every element once."""
    for group, dh, dw in list(groups(channels, directions)) or [(slice(0, channels), 0, 0)]:
        for to_rows, from_rows in _moves(height, dh):
            for to_columns, from_columns in _moves(width, dw):
                yield Region(to_rows, to_columns, from_rows, from_columns, group)


def _read(x: Tensor, region: Region) -> Tensor:
    return x[:, region.from_rows, region.from_columns, region.channels]


def _written(x: Tensor, region: Region) -> Tensor:
    return x[:, region.to_rows, region.to_columns, region.channels]


def _per_channel(weights: Tensor, region: Region) -> Tensor:
    """Slice weights of B,C so that they broadcast over a region: B,1,1,c."""
    return weights[:, None, None, region.channels]


class WeightedShiftSum(torch.autograd.Function):
    """``start + sum over k of weights_k * shift_k(y_k)``: reads K*C channels once, writes C.

    The pass begins with the split that has the fewest regions (an unshifted one has a single
    one), which writes the output; the others are added to slices of it.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, weights: Tensor, start: Tensor, splits: Splits) -> Tensor:
        """Return B,H,W,C of y (B,H,W,K*C), weights (B,K,C) and start (B,C), in y's dtype."""
        ctx.save_for_backward(y, weights)
        ctx.splits = splits
        height, width, channels = y.shape[1], y.shape[2], weights.shape[-1]
        out = y.new_empty(y.shape[0], height, width, channels, dtype=weights.dtype)
        parts = y.chunk(len(splits), dim=-1)
        order = sorted(range(len(splits)), key=lambda split: len(splits[split]))
        for position, split in enumerate(order):
            for region in regions(height, width, channels, splits[split]):
                source = _read(parts[split], region)
                scale = _per_channel(weights[:, split], region)
                target = _written(out, region)
                if position:
                    target.addcmul_(source, scale)
                else:
                    torch.addcmul(_per_channel(start, region), source, scale, out=target)
        return out.to(y.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Send each output's gradient back to the pixel that it read."""
        y, weights = ctx.saved_tensors
        channels = weights.shape[-1]
        grad_y = torch.zeros_like(y, dtype=weights.dtype)
        grad_weights = torch.zeros_like(weights)
        grad = grad.to(weights.dtype)
        for split, directions in enumerate(ctx.splits):
            part, grad_part = (
                m[..., split * channels : (split + 1) * channels] for m in (y, grad_y)
            )
            for region in regions(y.shape[1], y.shape[2], channels, directions):
                sent = _written(grad, region)
                scale = _per_channel(weights[:, split], region)
                _read(grad_part, region).addcmul_(sent, scale)
                grad_weights[:, split, region.channels] += (sent * _read(part, region)).sum((1, 2))
        return grad_y.to(y.dtype), grad_weights, grad.sum((1, 2)), None


class ShiftedGELU(torch.autograd.Function):
    """``shift(gelu(y))`` in one pass: the GELU of a region is written where the region goes."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, directions: Directions, approximate: str) -> Tensor:
        """Return B,H,W,C of y (B,H,W,C)."""
        ctx.save_for_backward(y)
        ctx.directions, ctx.approximate = directions, approximate
        _, height, width, channels = y.shape
        out = torch.empty_like(y)
        for region in regions(height, width, channels, directions):
            torch.ops.aten.gelu.out(
                _read(y, region), approximate=approximate, out=_written(out, region)
            )
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Undo the shift in float32, then the GELU."""
        (y,) = ctx.saved_tensors
        _, height, width, channels = y.shape
        moved = torch.zeros_like(y, dtype=accumulator(y.dtype))
        for region in regions(height, width, channels, ctx.directions):
            _read(moved, region).add_(_written(grad, region))
        grad_y = torch.ops.aten.gelu_backward(moved.to(y.dtype), y, approximate=ctx.approximate)
        return grad_y, None, None


@dataclass(frozen=True)
class Passes:
    """The three passes over a map that a fused mixer makes; Triton has its own."""

    border_sums: BorderSums
    weighted_shift_sum: type[WeightedShiftSum]
    shifted_gelu: type[ShiftedGELU]


PLAIN = Passes(border_sums, WeightedShiftSum, ShiftedGELU)


def expand_and_fuse(x: Tensor, mixer: MixerParameters, passes: Passes = PLAIN) -> Tensor:
    """Expand ``x`` (B,H,W,C), shift its splits and fuse them: B,H,W,C before the projection."""
    if torch.compiler.is_compiling() and torch.is_grad_enabled() and not COMPILES_TRAINING:
        raise UnavailableError(
            f"the compiler of torch {torch.__version__} gets the gradient of this mixer wrong; "
            "train it without torch.compile, compile it under torch.no_grad(), or use --shift fused"
        )
    if mixer.fusion == "none" and isinstance(mixer.activation, nn.GELU):
        (directions,) = mixer.splits
        shifted: Tensor = passes.shifted_gelu.apply(
            mixer.expand(x), directions, mixer.activation.approximate
        )
        return shifted
    if isinstance(mixer.activation, nn.Identity):
        y = F.linear(x, mixer.expand.weight)
        weights = fusion_weights(x, mixer, sums_of=passes.border_sums)
        start = fused_bias(weights, mixer)
    else:
        y = mixer.activation(mixer.expand(x))
        weights = fusion_weights(x, mixer, expanded=y, sums_of=passes.border_sums)
        start = weights.new_zeros(1, 1)
    return weighted_shift_sum(y, weights, start, mixer.splits, passes)


def weighted_shift_sum(
    y: Tensor, weights: Tensor, start: Tensor, splits: Splits, passes: Passes
) -> Tensor:
    """Make the one pass over ``y`` (B,H,W,K*C) with broadcast weights and start: B,H,W,C."""
    batch, channels = y.shape[0], y.shape[-1] // len(splits)
    fused: Tensor = passes.weighted_shift_sum.apply(
        y, weights.expand(batch, -1, channels), start.expand(batch, channels), splits
    )
    return fused


def fused_bias(weights: Tensor, mixer: MixerParameters) -> Tensor:
    """Return the expansion's bias as the fusion leaves it, B,C: constant, so its shift is itself.

    Added where the pass begins, it costs C numbers per image instead of a pass over K*C maps.
    """
    if mixer.expand.bias is None:
        return weights.new_zeros(1, 1)
    bias = mixer.expand.bias.to(weights.dtype).reshape(len(mixer.splits), -1)
    return (weights * bias).sum(1)


def fused_work(splits: Splits, fusion: str) -> ShiftWork:
    """Count one read of the input for the border sums, K reads and one write for the sum."""
    attention = attention_work(splits) if fusion == "split-attention" else ShiftWork(0, 0)
    return ShiftWork(maps=attention.maps + len(splits) + 1, products=attention.products)
