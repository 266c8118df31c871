"""The mixer without a stack: shifted maps, their weights, and one weighted sum.

It picks its form by where it runs. Eager on a CUDA device with Triton: the passes of
``fused-triton``, which write no shifted map. Everywhere else: one functional expression of
``concat``'s shift and of * and +, which a compiler fuses into the passes that the mixer makes
anyway, and which exports. DESIGN.md compares what each form moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from s2mlp_cli.shifts import triton_support
from s2mlp_cli.shifts.borders import accumulator, fused_work, split_attention
from s2mlp_cli.shifts.torch_shifts import is_recorded, shift_concat
from s2mlp_cli.shifts.types import MixerKernel, MixerParameters


def form(device: torch.device, dtype: torch.dtype, recorded: bool) -> str:
    """Return which form runs: ``Triton`` or ``functional``."""
    passes = device.type == "cuda" and not recorded and dtype != torch.float64
    return "Triton" if passes and not triton_support.unavailable(device) else "functional"


def mix_fused(x: Tensor, mixer: MixerParameters) -> Tensor:
    """Run one mixer on ``x`` (B,H,W,C)."""
    approximate = isinstance(mixer.activation, nn.GELU) and mixer.activation.approximate != "none"
    if form(x.device, x.dtype, is_recorded()) == "Triton" and not approximate:
        from s2mlp_cli.shifts.fused_triton import mix_fused_triton  # imports Triton

        return mix_fused_triton(x, mixer)
    parts = mixer.activation(mixer.expand(x)).chunk(len(mixer.splits), -1)
    maps = [
        shift_concat(part, directions) if directions else part
        for part, directions in zip(parts, mixer.splits, strict=True)
    ]
    projected: Tensor = mixer.project(fuse(maps, mixer))
    return projected


def fuse(maps: Sequence[Tensor], mixer: MixerParameters) -> Tensor:
    """Fuse K shifted ``maps`` (B,H,W,C each) into one without stacking them: B,H,W,C.

    Sums and weights are float32 for half types.
    """
    if len(maps) == 1:
        return maps[0]
    weights = _weights(maps, mixer)
    scales = weights[:, :, None, None].unbind(1)
    fused = maps[0] * scales[0]
    for part, scale in zip(maps[1:], scales[1:], strict=True):
        # In place costs eager PyTorch one map less; a compiler needs neither.
        fused = fused + part * scale if is_recorded() else fused.addcmul_(part, scale)
    return fused.to(maps[0].dtype)


def _weights(maps: Sequence[Tensor], mixer: MixerParameters) -> Tensor:
    """Return how much each map of each image counts per channel: B,K,C, or 1,K,1 for a mean."""
    first, count = maps[0], len(maps)
    kind = accumulator(first.dtype)
    if mixer.attention is None:
        return torch.full((1, count, 1), 1 / count, dtype=kind, device=first.device)
    if torch.is_autocast_enabled(first.device.type):
        # Sums over a map overflow the half types that autocast would put them in.
        with torch.autocast(first.device.type, enabled=False):
            return _weights(maps, mixer)
    total = first.sum((1, 2), dtype=kind)
    for part in maps[1:]:
        total = total + part.sum((1, 2), dtype=kind)
    return split_attention(total, mixer.attention, count)


IMPLEMENTATION = MixerKernel(
    "fused",
    "one weighted sum without a stack: Triton passes on CUDA, else functional",
    mix_fused,
    work=fused_work,
    form=form,
)
