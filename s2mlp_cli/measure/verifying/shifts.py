"""One implementation of the stand-alone shift against the oracle, in every bit."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from s2mlp_cli.directions import OFFSETS, Directions, groups
from s2mlp_cli.measure.verifying.cases import (
    PAPER_MAP,
    Question,
    Splits,
    deviation,
    together,
)
from s2mlp_cli.records.verify import VerifyCase
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.shifts.types import ShiftCallable, ShiftFunction


def check_shift(
    function: ShiftFunction, question: Question, device: torch.device, seed: int
) -> VerifyCase:
    """Run ``function`` and the oracle on the same map, forward and backward, and compare.

    A model in use is not trained: the same map is shifted once more in inference mode, and that
    output has to be right too.

    Raises:
        RuntimeError: whatever the implementation raises.
    """
    generator = torch.Generator().manual_seed(seed)
    channels = len(question.splits) * question.shape[-1]
    x = question.normals(channels, device, generator)
    upstream = question.odd_integers(channels, device, generator)
    reference = shift_by_loops if function.run is shift_oracle else shift_oracle
    expected, expected_gradient = _forward_backward(reference, question.splits, x, upstream)
    kept = x.clone()
    _leave_nans_behind(x)
    output, gradient = _forward_backward(function.run, question.splits, x, upstream)
    with torch.inference_mode():
        inferred = _shift_maps(function.run, question.splits, x)
    case = VerifyCase(
        shape=question.shape, splits=question.splits, dtype=question.dtype, layout=question.layout
    )
    for returned in (output, inferred):
        if (returned.shape, returned.dtype) != (expected.shape, expected.dtype):
            fault = f"returned {returned.dtype} of {tuple(returned.shape)} for {tuple(x.shape)}"
            return case.model_copy(update={"fault": fault})
    compared = {
        "forward": together([deviation(output, expected), deviation(inferred, expected)]),
        "gradient": deviation(gradient, expected_gradient),
        "fault": None if torch.equal(x, kept) else "wrote to its input",
    }
    return case.model_copy(update=compared)


def shift_by_loops(x: Tensor, directions: Directions) -> Tensor:
    """Shift ``x`` (B,H,W,C) by the definition in Python integers: what the oracle is held to."""
    sources = torch.tensor(_sources(*x.shape[1:], directions), device=x.device)
    return x.flatten(1)[:, sources].reshape(x.shape)


@functools.lru_cache(maxsize=256)
def _sources(height: int, width: int, channels: int, directions: Directions) -> list[int]:
    """Return for each element of an H,W,C map the flat position that its value comes from."""
    flat = []
    for h in range(height):
        for w in range(width):
            for c in range(channels):
                dh, dw = (
                    OFFSETS[directions[c * len(directions) // channels]] if directions else (0, 0)
                )
                row = min(max(h - dh, 0), height - 1)
                column = min(max(w - dw, 0), width - 1)
                flat.append((row * width + column) * channels + c)
    return flat


def _forward_backward(
    shift: ShiftCallable, splits: Splits, x: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor]:
    """Shift the maps of ``x`` (B,H,W,K*C): the output, and the gradient of x."""
    leaf = x.detach().requires_grad_()
    output = _shift_maps(shift, splits, leaf)
    (gradient,) = torch.autograd.grad(output, leaf, upstream)
    return output.detach(), gradient


def _shift_maps(shift: ShiftCallable, splits: Splits, x: Tensor) -> Tensor:
    """Shift the maps that ``x`` (B,H,W,K*C) is chunked into, and concatenate them again.

    The chunks are views with the strides of the whole, as they are in a mixer.
    """
    maps = zip(x.chunk(len(splits), -1), splits, strict=True)
    return torch.cat([shift(part, directions) for part, directions in maps], -1)


def _leave_nans_behind(x: Tensor) -> None:
    """Free a block of NaNs of this size, which the allocator is likely to hand out next.

    A kernel that leaves part of its output unwritten then shows NaNs, not the oracle's values
    that happened to lie there.
    """
    torch.full_like(x, math.nan)


def wrong_by_direction(
    function: ShiftFunction, directions: Directions, device: torch.device, seed: int
) -> dict[str, float]:
    """Return, per direction, the fraction of wrong elements in its channels of the paper's map."""
    x = torch.randn(PAPER_MAP, generator=torch.Generator().manual_seed(seed)).to(device)
    wrong = function.run(x, directions) != shift_oracle(x, directions)
    named = {offset: name for name, offset in OFFSETS.items()}
    return {
        named[dh, dw]: wrong[..., group].float().mean().item()
        for group, dh, dw in groups(x.shape[-1], directions)
    }
