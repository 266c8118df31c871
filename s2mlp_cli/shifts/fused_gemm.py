"""The mixer without its expanded map: a matrix product that reads its operand at shifted places.

A shift only moves positions, so with the attention known first (:mod:`.borders`) the fused map of
v2 is itself a matrix product over K*C::

    out[p, n] = start[n] + sum over k of weight_k[n] * sum over c of x[p', c] W_k[n, c]

and the shift of v1 goes into the reads of its second product, one term per direction::

    out[p, n] = bias[n] + sum over g of sum over c in group g of h[p', c] P[n, c]

where p' is the position that p reads: shifted by (k, n), or by g. Both are one kernel; neither
the K*C-channel map nor a shifted copy is ever written.
"""

# Kernels are typed by Triton, and write their compile-time constants in capitals.
# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# ruff: noqa: N803
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.borders import Splits, attention_work, fusion_weights
from s2mlp_cli.shifts.fused_triton import TRITON, dot_type, gelu
from s2mlp_cli.shifts.passes import fused_bias, weighted_shift_sum
from s2mlp_cli.shifts.triton_support import interpreted, offset_table, segments, unavailable
from s2mlp_cli.shifts.types import MixerKernel, MixerParameters, ShiftWork

# (positions, channels, depth, warps, stages) to choose from.
_TILES = (
    ((256, 16, 32, 4, 1),)  # few large steps: the interpreter pays per operation
    if interpreted()
    else (
        (128, 128, 64, 8, 3),
        (128, 64, 64, 8, 4),
        (256, 64, 64, 8, 3),
        (64, 128, 64, 4, 4),
        (64, 64, 32, 4, 4),
        (128, 32, 64, 4, 4),
    )
)


@triton.autotune(
    [
        triton.Config(
            {"BLOCK_M": positions, "BLOCK_N": channels, "BLOCK_K": depth},
            num_warps=warps,
            num_stages=stages,
        )
        for positions, channels, depth, warps, stages in _TILES
    ],
    key=["height", "width", "size", "columns", "TERMS", "DEPTH"],
    cache_results=not interpreted(),
)
@triton.jit
def _shifted_matmul_kernel(
    a, w, scale, bias, offsets, out,
    height, width, columns, size, segments, a_row, a_step, w_row, w_step, bias_image,
    TERMS: tl.constexpr, DEPTH: tl.constexpr, SCALED: tl.constexpr, GELU: tl.constexpr,
    OPERAND: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One tile of the output: positions of one image times channels of one segment.

    Rows past the image and channels past the segment are clamped to the last one instead of
    masked, so that loads stay wide; only the epilogue has a mask. The column tiles of the same
    positions are neighbours in launch order: they find their rows of ``a`` in the L2 cache.
    """
    program = tl.program_id(0)
    segment_blocks = (size + BLOCK_N - 1) // BLOCK_N
    position_blocks = (height * width + BLOCK_M - 1) // BLOCK_M
    block = program % (segments * segment_blocks)
    segment = block // segment_blocks
    inside = block % segment_blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    in_segment = inside < size
    channel = segment * size + inside
    tile = program // (segments * segment_blocks)
    position = tile % position_blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    row, column = position // width, position % width
    # 64 bits only for where the image begins: inside it 32 do, and take half the registers.
    image = (tile // position_blocks).to(tl.int64)
    a += image * height * width * a_row
    out += image * height * width * columns
    depth = tl.arange(0, BLOCK_K)
    w_rows = (segment * size + tl.minimum(inside, size - 1)) * w_row

    total = tl.full((BLOCK_M, BLOCK_N), 0, tl.float32)
    for term in range(TERMS):
        dh = tl.load(offsets + 2 * (term * segments + segment))
        dw = tl.load(offsets + 2 * (term * segments + segment) + 1)
        from_row = tl.minimum(tl.maximum(row - dh, 0), height - 1)
        from_column = tl.minimum(tl.maximum(column - dw, 0), width - 1)
        a_rows = (from_row * width + from_column) * a_row
        a_term = a + term * a_step
        w_term = w + term * w_step
        # A scaled term has its own partial sum; the others go on adding to the total.
        partial = tl.full((BLOCK_M, BLOCK_N), 0, tl.float32) if SCALED else total
        for start in range(0, DEPTH, BLOCK_K):
            inner = start + depth
            left_at = a_term + a_rows[:, None] + inner[None, :]
            right_at = w_term + w_rows[None, :] + inner[:, None]
            if DEPTH % BLOCK_K == 0:
                left, right = tl.load(left_at), tl.load(right_at)
            else:
                left = tl.load(left_at, mask=(inner < DEPTH)[None, :], other=0)
                right = tl.load(right_at, mask=(inner < DEPTH)[:, None], other=0)
            partial = tl.dot(
                left.to(OPERAND), right.to(OPERAND), partial, input_precision=PRECISION
            )
        if SCALED:
            at = scale + (image * TERMS + term) * columns + channel
            total += partial * tl.load(at, mask=in_segment, other=0)[None, :]
        else:
            total = partial
    total += tl.load(bias + image * bias_image + channel, mask=in_segment, other=0)[None, :]
    if GELU:
        total = gelu(total)
    tl.store(
        out + (position * columns)[:, None] + channel[None, :],
        total.to(out.dtype.element_ty),
        mask=(position < height * width)[:, None] & in_segment[None, :],
    )


def shifted_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    terms: Splits,
    scale: Tensor | None = None,
    along_input: bool = False,
    activate: bool = False,
) -> Tensor:
    """Multiply ``x``, read at shifted positions, by a weight; sum over the terms.

    Args:
        x: B,H,W,C.
        weight: K*N,C: one N,C block per term; with ``along_input`` N,C, cut into K blocks of C/K.
        bias: N or B,N, in float32.
        terms: the directions of each of the K terms, by which runs of *output* channels move.
        scale: B,K,N in float32; None for ones.
        along_input: each term reads its own C/K channels of ``x`` instead of all.
        activate: apply GELU to the result.

    Returns:
        B,H,W,N in ``x``'s dtype.
    """
    batch, height, width, channels = x.shape
    count = len(terms)
    columns = weight.shape[0] if along_input else weight.shape[0] // count
    depth = channels // count if along_input else channels
    out = torch.empty(batch, height, width, columns, dtype=x.dtype, device=x.device)
    runs = segments(terms)
    size = columns // runs
    tf32 = x.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32

    def grid(tile: dict[str, int]) -> tuple[int]:
        rows = batch * triton.cdiv(height * width, tile["BLOCK_M"])
        return (rows * runs * triton.cdiv(size, tile["BLOCK_N"]),)

    _shifted_matmul_kernel[grid](
        x.contiguous(), weight.to(x.dtype).contiguous(), scale, bias.contiguous(),
        offset_table(terms, x.device), out,
        height, width, columns, size, runs, channels, depth if along_input else 0, channels,
        depth if along_input else columns * channels, columns if bias.ndim == 2 else 0,
        TERMS=count, DEPTH=depth, SCALED=scale is not None, GELU=activate, OPERAND=dot_type(x),
        PRECISION="tf32" if tf32 else "ieee",
    )  # fmt: skip
    return out


def _bias(layer: nn.Linear) -> Tensor:
    if layer.bias is None:
        return torch.zeros(layer.out_features, device=layer.weight.device)
    return layer.bias.float()


def _check(x: Tensor, mixer: MixerParameters) -> None:
    if x.dtype == torch.float64:
        raise UnavailableError("the Triton mixers sum in float32, not float64; use --shift fused")
    if torch.is_grad_enabled() and (x.requires_grad or mixer.expand.weight.requires_grad):
        raise UnavailableError(
            "fused-gemm has no gradient; call it under torch.no_grad(), or train with --shift fused"
        )
    kind = mixer.activation
    exact_gelu = isinstance(kind, nn.GELU) and kind.approximate == "none"
    if not isinstance(kind, nn.Identity) and not exact_gelu:
        raise UnavailableError(
            f"fused-gemm has no {kind} for the end of its matrix product; use --shift fused"
        )


def _single(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Return v1's mixer: GELU ends the first product, the shift is in the second's reads."""
    (directions,) = mixer.splits
    terms = tuple((direction,) for direction in directions) or ((),)
    activate = isinstance(mixer.activation, nn.GELU)
    hidden = shifted_linear(x, mixer.expand.weight, _bias(mixer.expand), ((),), activate=activate)
    return shifted_linear(
        hidden, mixer.project.weight, _bias(mixer.project), terms, along_input=True
    )


def _fused(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Return the fused map of several splits; with a GELU between, that is no product of x.

    The GELU then ends the first product, and the weighted sum is the pass of ``fused-triton``.
    """
    if isinstance(mixer.activation, nn.GELU):
        y = shifted_linear(x, mixer.expand.weight, _bias(mixer.expand), ((),), activate=True)
        weights = fusion_weights(x, mixer, expanded=y, sums_of=TRITON.border_sums)
        return weighted_shift_sum(y, weights, weights.new_zeros(1, 1), mixer.splits, TRITON)
    weights = fusion_weights(x, mixer, sums_of=TRITON.border_sums)
    start = fused_bias(weights, mixer).expand(x.shape[0], x.shape[3])
    scale = weights.expand(x.shape[0], -1, x.shape[3]).contiguous()
    return shifted_linear(x, mixer.expand.weight, start, mixer.splits, scale)


def mix_fused_gemm(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Run one mixer on ``x`` (B,H,W,C); inference only.

    Raises:
        UnavailableError: float64, a gradient is asked for, or an activation other than GELU.
    """
    _check(x, mixer)
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if mixer.fusion == "none":
        return _single(x, mixer)
    projected: Tensor = mixer.project(_fused(x, mixer))
    return projected


def _work(splits: Splits, fusion: str) -> ShiftWork:
    """Count the border sums alone: the shifts are inside the products' own reads."""
    return attention_work(splits) if fusion == "split-attention" else ShiftWork(0, 0)


IMPLEMENTATION = MixerKernel(
    "fused-gemm",
    "no expanded map: a Triton matrix product with shifted reads; inference only",
    mix_fused_gemm,
    trains=False,
    unavailable=unavailable,
    work=_work,
)
