"""The weighted shifted sum in the reads of the projection: the fused map is never written.

``fused-triton`` writes the weighted sum of v2 (or the shifted GELU of v1), and the projection reads
it again. Here the projection's left operand is made as it is read::

    out[p, n] = bias[n] + sum over c of P[n, c] * fused[p, c]
    fused[p, c] = start[c] + sum over k of weight_k[c] * y_k[p', c]

where p' is the position that p reads, shifted by (k, c). Groups of channels lie along the depth of
the product, so that no column tile is cut by them; a tile as wide as the output reads y once.
"""

# Kernels are typed by Triton, and write their compile-time constants in capitals.
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# ruff: noqa: N803
from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from s2mlp_cli.directions import Splits
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.borders import fused_work
from s2mlp_cli.shifts.fused_triton import check_supported, expanded, gelu
from s2mlp_cli.shifts.triton_borders import dot_type
from s2mlp_cli.shifts.triton_shift import source_of
from s2mlp_cli.shifts.triton_support import (
    interpreted,
    offset_table,
    on_device,
    power_of_two_block,
    segments,
    shared_memory,
    unavailable,
)
from s2mlp_cli.shifts.types import MixerKernel, MixerParameters, ShiftWork

# (positions, columns, warps, stages) to choose from; the last two are for small shared memory.
_TILES = (
    ((256, 16, 4, 1),)  # few large steps: the interpreter pays per operation
    if interpreted()
    else (
        (64, 256, 8, 3),
        (128, 128, 8, 3),
        (64, 128, 4, 3),
        (128, 64, 4, 3),
        (64, 64, 4, 3),
        (64, 64, 4, 2),
        (32, 64, 4, 2),
    )
)


def shared_bytes(config: Any, depth: int, splits: int, element: int) -> int:
    """Return the shared memory of a tile, as the compiler lays out its pipeline (sm_90)."""
    rows, columns, stages = config.kwargs["BLOCK_M"], config.kwargs["BLOCK_N"], config.num_stages
    pipeline = stages * columns + splits * (stages - 1) * rows
    return int(element * depth * pipeline) + 2048  # the attention's weights


def _fitting(configs: list[Any], arguments: dict[str, Any], **constants: Any) -> list[Any]:
    """Leave out the tiles that do not fit the card's shared memory."""
    known = {**arguments, **constants}
    y, depth, splits = known["y"], int(known["BLOCK_K"]), int(known["SPLITS"])
    limit = shared_memory(y.device)
    return [c for c in configs if shared_bytes(c, depth, splits, y.element_size()) <= limit]


@triton.autotune(
    [
        triton.Config({"BLOCK_M": m, "BLOCK_N": n}, num_warps=warps, num_stages=stages)
        for m, n, warps, stages in _TILES
    ],
    # What wins at one image loses at 256, in float32 against TF32, and on another card.
    key=["height", "width", "size", "columns", "rows", "CARD", "PRECISION", "SPLITS", "GELU"],
    prune_configs_by={"early_config_prune": _fitting},
    cache_results=not interpreted(),
)
@triton.jit(do_not_specialize=["rows"])
def _projected_kernel(
    y, weights, start, offsets, project, bias, out,
    height, width, channels, size, columns, rows,
    SPLITS: tl.constexpr, SEGMENTS: tl.constexpr, SIZE: tl.constexpr, WEIGHTED: tl.constexpr,
    GELU: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr, CARD: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One tile of the output: positions of one image times output channels.

    Rows past the image are clamped to the last one instead of masked, so that loads stay wide; only
    the store has a mask. The column tiles of the same positions are neighbours in launch order:
    they find their rows of ``y`` in the L2 cache. ``rows`` and CARD are there for the tuner alone.
    """
    program = tl.program_id(0)
    column_blocks = (columns + BLOCK_N - 1) // BLOCK_N
    position_blocks = (height * width + BLOCK_M - 1) // BLOCK_M
    column = program % column_blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    in_columns = column < columns
    tile = program // column_blocks
    position = tile % position_blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    row = tl.minimum(position // width, height - 1)
    from_left = position % width
    # 64 bits only for where the image begins: inside it 32 do, and take half the registers.
    image = (tile // position_blocks).to(tl.int64)
    y += image * height * width * SPLITS * channels
    out += image * height * width * columns
    if WEIGHTED:
        weights += image * SPLITS * channels
        start += image * channels
    inner = tl.arange(0, BLOCK_K)
    right_rows = tl.minimum(column, columns - 1) * channels

    total = tl.full((BLOCK_M, BLOCK_N), 0, tl.float32)
    for segment in range(SEGMENTS):
        for first in range(0, SIZE, BLOCK_K):
            inside = first + inner
            channel = segment * SIZE + inside
            mask = inside < SIZE
            left = tl.full((BLOCK_M, BLOCK_K), 0, tl.float32)
            if WEIGHTED:
                left += tl.load(start + channel, mask=mask, other=0)[None, :]
            for split in tl.static_range(SPLITS):
                at = offsets + 2 * (split * SEGMENTS + segment)
                from_row, from_column = source_of(row, from_left, at, height, width)
                source = (from_row * width + from_column) * SPLITS + split
                value = tl.load(
                    y + (source * channels)[:, None] + channel[None, :], mask=mask[None, :], other=0
                ).to(tl.float32)
                if GELU:
                    value = gelu(value)
                if WEIGHTED:
                    weight = tl.load(weights + split * channels + channel, mask=mask, other=0)
                    value *= weight[None, :]
                left += value
            right = tl.load(
                project + right_rows[None, :] + channel[:, None], mask=mask[:, None], other=0
            )
            # Rounded to y's type first, as the map that is not written would be.
            left = left.to(y.dtype.element_ty).to(OPERAND)
            total = tl.dot(left, right.to(OPERAND), total, input_precision=PRECISION)
    total += tl.load(bias + column, mask=in_columns, other=0).to(tl.float32)[None, :]
    tl.store(
        out + (position * columns)[:, None] + column[None, :],
        total.to(out.dtype.element_ty),
        mask=(position < height * width)[:, None] & in_columns[None, :],
    )


def _projected(
    y: Tensor,
    project: nn.Linear,
    splits: Splits,
    weights: Tensor | None = None,
    start: Tensor | None = None,
    activate: bool = False,
) -> Tensor:
    """Return ``project`` of the weighted shifted sum of ``y`` (B,H,W,K*C): B,H,W,N.

    Args:
        y: the expanded map.
        project: N,C.
        splits: the directions of the K splits.
        weights: B,K,C in float32; None for ones.
        start: B,C in float32, added before the product; with ``weights``.
        activate: apply GELU to what is read.
    """
    batch, height, width, _ = y.shape
    columns, channels = project.weight.shape
    out = torch.empty(batch, height, width, columns, dtype=y.dtype, device=y.device)
    count = segments(splits)
    size = channels // count
    bias = project.bias if project.bias is not None else y.new_zeros(columns)

    def grid(tile: dict[str, int]) -> tuple[int]:
        rows = batch * triton.cdiv(height * width, tile["BLOCK_M"])
        return (rows * triton.cdiv(columns, tile["BLOCK_N"]),)

    with on_device(y):
        _projected_kernel[grid](
            y.contiguous(), weights, start, offset_table(splits, y.device),
            project.weight.to(y.dtype).contiguous(), bias.contiguous(), out,
            height, width, channels, size, columns, (batch * height * width).bit_length(),
            SPLITS=len(splits), SEGMENTS=count, SIZE=size, WEIGHTED=weights is not None,
            GELU=activate, OPERAND=dot_type(y), PRECISION=_precision(y),
            CARD=torch.cuda.get_device_name(y.device) if y.is_cuda else "",
            BLOCK_K=power_of_two_block(size, largest=64),
        )  # fmt: skip
    return out


def _precision(x: Tensor) -> str:
    """Return ``tf32`` where torch's own float32 products use it on this device."""
    tf32 = x.is_cuda and x.dtype == torch.float32
    return "tf32" if tf32 and torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


class _WithoutGradient(torch.autograd.Function):
    """Returns a result unchanged, and refuses to compute its gradient."""

    @staticmethod
    def forward(ctx: Any, mixed: Tensor, *inputs: Tensor) -> Tensor:
        """Return ``mixed``, the result of ``inputs``."""
        return mixed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        """Refuse."""
        raise UnavailableError("fused-project has no gradient; train with --shift fused")


def mix_fused_project(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Run one mixer on ``x`` (B,H,W,C); inference only.

    Raises:
        UnavailableError: float64, a GELU that is approximated, or, later, a gradient is needed.
    """
    check_supported(x, mixer)
    with torch.no_grad():
        mixed = _mixed(x, mixer)
    if not torch.is_grad_enabled():
        return mixed
    result: Tensor = _WithoutGradient.apply(mixed, x, mixer.project.weight)
    return result


def _mixed(x: Tensor, mixer: MixerParameters) -> Tensor:
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if mixer.fusion == "none" and isinstance(mixer.activation, nn.GELU):
        return _projected(mixer.expand(x), mixer.project, mixer.splits, activate=True)
    y, weights, start = expanded(x, mixer)
    return _projected(y, mixer.project, mixer.splits, weights.contiguous(), start.contiguous())


def _work(splits: Splits, fusion: str) -> ShiftWork:
    """Leave out the write of the fused map, and its read, which a product makes anyway."""
    work = fused_work(splits, fusion)
    return replace(work, maps=work.maps - 2)


IMPLEMENTATION = MixerKernel(
    "fused-project",
    "the weighted shifted sum inside the projection's reads, as one Triton kernel; inference only",
    mix_fused_project,
    trains=False,
    unavailable=unavailable,
    work=_work,
)
