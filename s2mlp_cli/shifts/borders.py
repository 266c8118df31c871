"""Split attention from border sums of the mixer's input: no pass over the shifted maps.

S2-MLPv2 (section 3.2) weighs its splits by ``a``, the sum of the shifted maps over all positions.
A shift with replicated edges only changes how often a row and a column is counted. Content that
moves down by one counts the first row twice and the last row not at all; so, for an offset
(dh, dw) with entries in {-1, 0, 1}, row i counts ``1 + dh ([i = first] - [i = last])`` times,
column j likewise with dw, and pixel (i, j) the product of the two. Multiplied out::

    sum of shift(m) = total + dh * rows + dw * columns + dh * dw * corners

where, of a map m, ``rows`` is the sum of its first row minus that of its last, ``columns`` the
same of its columns, and ``corners`` is m[0,0] - m[0,-1] - m[-1,0] + m[-1,-1]. All four are linear
in m, so those of ``W x + b`` are W times those of x, plus (positions) * b in the total.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli.directions import OFFSETS, Splits, offsets_of
from s2mlp_cli.shifts.torch_shifts import remembered
from s2mlp_cli.shifts.types import MixerParameters, ShiftWork, SplitAttentionParameters

# ``(x of B,H,W,C, with corners or without) -> B,4,C or B,3,C``.
BorderSums = Callable[[Tensor, bool], Tensor]


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which sums are kept: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def border_sums(x: Tensor, corners: bool) -> Tensor:
    """Return total, rows, columns and, unless left out, corners of ``x`` (B,H,W,C).

    Returns:
        B,4,C, or B,3,C without the corners, which only diagonal offsets need, in the accumulator.
    """
    kind = accumulator(x.dtype)
    rows = x[:, 0].to(kind) - x[:, -1].to(kind)  # B,W,C
    columns = x[:, :, 0].to(kind) - x[:, :, -1].to(kind)  # B,H,C
    sums = [x.sum((1, 2), dtype=kind), rows.sum(1), columns.sum(1)]
    if corners:
        sums.append(rows[:, 0] - rows[:, -1])
    return torch.stack(sums, dim=1)


def _has_diagonals(splits: Splits) -> bool:
    return any(all(OFFSETS[direction]) for directions in splits for direction in directions)


@remembered
def _coefficients(
    channels: int, splits: Splits, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return (1, dh, dw, dh*dw) of every channel of every split: 4,K,C."""
    offsets = [offsets_of(channels, directions) for directions in splits]
    rows = [
        [[(1, dh, dw, dh * dw)[row] for dh, dw in split] for split in offsets] for row in range(4)
    ]
    # Of a list the compiler makes a constant on the device; a table that is written is copied.
    return torch.tensor(rows, dtype=dtype, device=device)


def _count(sums: Tensor, splits: Splits) -> Tensor:
    """Combine the border sums of K maps (B,3 or 4,K*C) into those of the shifted maps: B,K,C."""
    sums = sums.reshape(*sums.shape[:2], len(splits), -1)
    coefficients = _coefficients(sums.shape[-1], splits, sums.dtype, sums.device)
    return (sums * coefficients[: sums.shape[1]]).sum(1)


def shifted_sums(maps: Tensor, splits: Splits, sums_of: BorderSums = border_sums) -> Tensor:
    """Return the sums over positions of the shifted splits of ``maps`` (B,H,W,K*C): B,K,C."""
    return _count(sums_of(maps, _has_diagonals(splits)), splits)


def shifted_linear_sums(
    x: Tensor, expand: nn.Linear, splits: Splits, sums_of: BorderSums = border_sums
) -> Tensor:
    """Return the sums of the shifted splits of ``expand(x)`` without computing that map.

    A product of sums has larger terms than the sum of products, so it is taken in float64 where
    ``x`` is float32: in float32 it doubled the error of a whole v2-small's logits.

    Args:
        x: B,H,W,C.
        expand: the linear layer C to K*C.
        splits: the directions of each of the K splits.
        sums_of: what takes the border sums.

    Returns:
        B,K,C in float32 (float64 for float64).
    """
    wide = torch.float64 if x.dtype == torch.float32 else accumulator(x.dtype)
    sums = sums_of(x, _has_diagonals(splits)).to(wide)
    counted = _count(F.linear(sums, expand.weight.to(wide)), splits)
    if expand.bias is not None:
        positions = x.shape[1] * x.shape[2]
        counted = counted + positions * expand.bias.to(wide).reshape(len(splits), -1)
    return counted.to(accumulator(x.dtype))


def split_attention(total: Tensor, attention: SplitAttentionParameters, maps: int) -> Tensor:
    """Return softmax over K of ``W2 GELU(W1 a)`` for the sums a of B,C: the weights B,K,C."""
    hidden = F.gelu(_linear(total, attention.reduce))
    scores = _linear(hidden, attention.expand)
    # Its own batch, which len() would fix in an export.
    return scores.reshape(scores.shape[0], maps, scores.shape[-1] // maps).softmax(1)


def _linear(x: Tensor, layer: nn.Linear) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias)


def weights_of(x: Tensor, mixer: MixerParameters, total: Callable[[], Tensor]) -> Tensor:
    """Return how much each split of each image counts per channel: B,K,C, or 1,K,1 for a mean.

    Args:
        x: any map of the mixer, whose type and device the weights follow.
        mixer: its weights and settings.
        total: returns the sum over splits and positions of the shifted maps, B,C.
    """
    count = len(mixer.splits)
    if mixer.attention is None:
        kind = accumulator(x.dtype)
        return torch.full((1, count, 1), 1 / count, dtype=kind, device=x.device)
    if x.is_meta or not torch.is_autocast_enabled(
        x.device.type
    ):  # an export would record the context
        return split_attention(total(), mixer.attention, count)
    # Sums over a map overflow half types, and autocast would put them there.
    with torch.autocast(x.device.type, enabled=False):
        return split_attention(total(), mixer.attention, count)


def fusion_weights(
    x: Tensor,
    mixer: MixerParameters,
    expanded: Tensor | None = None,
    sums_of: BorderSums = border_sums,
) -> Tensor:
    """Return :func:`weights_of` the splits from border sums, without a shifted map.

    Args:
        x: the input of the mixer, B,H,W,C.
        mixer: its weights and settings.
        expanded: ``activation(expand(x))`` where there is an activation: the sums of a map that is
            not linear in ``x`` must be taken from the map itself.
        sums_of: what takes the border sums.
    """

    def total() -> Tensor:
        if expanded is None:
            return shifted_linear_sums(x, mixer.expand, mixer.splits, sums_of).sum(1)
        return shifted_sums(expanded, mixer.splits, sums_of).sum(1)

    return weights_of(x, mixer, total)


def fused_work(splits: Splits, fusion: str) -> ShiftWork:
    """Count K reads and one write for the sum, and what split attention adds.

    Its border sums read the input, and are 3 or 4 rows times the K blocks of the expansion.
    """
    maps = len(splits) + 1
    if fusion != "split-attention":
        return ShiftWork(maps, 0)
    return ShiftWork(maps + 1, (4 if _has_diagonals(splits) else 3) * len(splits))
