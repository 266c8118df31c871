"""The mixer without a stack: shifted maps, their weights, and one weighted sum.

It picks its form by where it runs. Eager on a CUDA device with Triton: the passes of
``fused-triton``, which write no shifted map. Eager elsewhere: ``slice``'s shift and a sum in place.
Compiled, traced or exported: one functional expression of ``concat``'s shift and of * and +, which
a compiler fuses into the passes that the mixer makes anyway. DESIGN.md compares what each moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from s2mlp_cli.shifts import triton_support
from s2mlp_cli.shifts.borders import accumulator, fused_work, weights_of
from s2mlp_cli.shifts.torch_shifts import is_recorded, shift_concat, shift_maps, shift_slice
from s2mlp_cli.shifts.types import MixerKernel, MixerParameters


def form(device: torch.device, dtype: torch.dtype, recorded: bool) -> str:
    """Return which form runs: ``Triton``, ``slices`` or ``functional``."""
    if recorded:
        return "functional"
    passes = device.type == "cuda" and dtype != torch.float64
    return "Triton" if passes and not triton_support.unavailable(device) else "slices"


def mix_fused(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Run one mixer on ``x`` (B,H,W,C)."""
    approximate = isinstance(mixer.activation, nn.GELU) and mixer.activation.approximate != "none"
    if form(x.device, x.dtype, is_recorded()) == "Triton" and not approximate:
        from s2mlp_cli.shifts.fused_triton import mix_fused_triton  # imports Triton

        return mix_fused_triton(x, mixer)
    shift = shift_concat if is_recorded() else shift_slice
    maps = shift_maps(mixer.activation(mixer.expand(x)), mixer.splits, shift)
    projected: Tensor = mixer.project(fuse(maps, mixer))
    return projected


def fuse(maps: Sequence[Tensor], mixer: MixerParameters) -> Tensor:
    """Fuse K shifted ``maps`` (B,H,W,C each) into one without stacking them: B,H,W,C.

    Sums and weights are float32 for half types.
    """
    first = maps[0]
    if len(maps) == 1:
        return first
    kind = accumulator(first.dtype)
    sums = (part.sum((1, 2), dtype=kind) for part in maps)
    weights = weights_of(first, mixer, lambda: reduce(torch.add, sums))
    scales = weights[:, :, None, None].unbind(1)
    fused = first * scales[0]
    for part, scale in zip(maps[1:], scales[1:], strict=True):
        # In place costs eager PyTorch one map less; a compiler needs neither.
        fused = fused + part * scale if is_recorded() else fused.addcmul_(part, scale)
    return fused.to(first.dtype)


IMPLEMENTATION = MixerKernel(
    "fused",
    "one weighted sum without a stack; Triton passes on CUDA, functional where it is compiled",
    mix_fused,
    work=fused_work,
    form=form,
)
