"""One implementation on one input against the reference: a shift in every bit, a mixer nearly."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from s2mlp_cli.directions import OFFSETS, Directions, Splits, groups
from s2mlp_cli.measure.verifying.cases import DTYPES, PAPER_MAP, CheckInput
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.records.base import REFERENCE, changed
from s2mlp_cli.records.verify import Deviation, VerifyCase
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.shifts.types import MixerKernel, ShiftCallable, ShiftFunction
from s2mlp_cli.specs import Mixer


def deviation(actual: Tensor, expected: Tensor, tolerance: float = 0.0) -> Deviation:
    """Compare two tensors of one shape element by element; a NaN is wrong.

    Args:
        actual: what came out.
        expected: what should have come out.
        tolerance: allowed error, relative to the largest expected value.
    """
    expected = expected.double()
    error = (actual.double() - expected).abs() / expected.abs().max()
    largest = error.max().item()
    return Deviation(
        wrong=int((~(error <= tolerance)).sum()),
        elements=error.numel(),
        max_error=largest if math.isfinite(largest) else None,
    )


def together(parts: Sequence[Deviation]) -> Deviation:
    """Add up the deviations of several tensors."""
    errors = [part.max_error for part in parts if part.max_error is not None]
    return Deviation(
        wrong=sum(part.wrong for part in parts),
        elements=sum(part.elements for part in parts),
        max_error=max(errors, default=None) if len(errors) == len(parts) else None,
    )


def check_shift(
    function: ShiftFunction, given: CheckInput, device: torch.device, seed: int
) -> VerifyCase:
    """Run ``function`` and the reference on the same map, forward and backward, and compare.

    A model in use is not trained: the same map is shifted once more in inference mode, and that
    output has to be right too.

    Raises:
        RuntimeError: whatever the implementation raises.
    """
    generator = torch.Generator().manual_seed(seed)
    channels = len(given.splits) * given.shape[-1]
    x = given.normals(channels, device, generator)
    upstream = given.odd_integers(channels, device, generator)
    reference = shift_by_loops if function.run is shift_oracle else shift_oracle
    expected, expected_gradient = _shift_and_gradient(reference, given.splits, x, upstream)
    kept = x.clone()
    # Freed at once, this is likely to be handed out next: what is left unwritten shows NaNs then,
    # not the reference's values.
    torch.full_like(x, math.nan)
    output, gradient = _shift_and_gradient(function.run, given.splits, x, upstream)
    with torch.inference_mode():
        inferred = _shift_maps(function.run, given.splits, x)
    case = VerifyCase(
        shape=given.shape, splits=given.splits, dtype=given.dtype, layout=given.memory_format
    )
    for returned in (output, inferred):
        if (returned.shape, returned.dtype) != (expected.shape, expected.dtype):
            fault = f"returned {returned.dtype} of {tuple(returned.shape)} for {tuple(x.shape)}"
            return changed(case, fault=fault)
    return changed(
        case,
        forward=together([deviation(output, expected), deviation(inferred, expected)]),
        gradient=deviation(gradient, expected_gradient),
        fault=None if torch.equal(x, kept) else "wrote to its input",
    )


def shift_by_loops(x: Tensor, directions: Directions) -> Tensor:
    """Shift ``x`` (B,H,W,C) in Python integers: what the reference itself is checked against."""
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


def _shift_and_gradient(
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


# A kernel for a whole mixer adds up in another order than the reference, so it cannot equal it in
# every bit. Both get the same weights and inputs, rounded to the dtype; the reference computes in
# float64, and the error allowed is a fraction of the largest value of each output and gradient.
# In the half-precision types the maps between the steps are rounded too: eight units in the last
# place cover that; wrong pixels cost far more.
TOLERANCES = {"fp64": 1e-12, "fp32": 1e-5, "fp16": 8e-3, "bf16": 6e-2}

_ONE_MAP: tuple[dict[str, Any], ...] = (
    {"activation": "gelu", "fusion": "none"},
    {"activation": "none", "fusion": "none"},
)
# The mixers of a case: v1's and v2's, the mean of table 6, third-party variants.
_SEVERAL_MAPS: tuple[dict[str, Any], ...] = (
    {"activation": "none", "fusion": "split-attention", "reduction": 4},
    {"activation": "gelu", "fusion": "split-attention", "reduction": 1, "attention_bias": True},
    {"activation": "none", "fusion": "mean"},
)


def check_mixer(
    kernel: MixerKernel, given: CheckInput, device: torch.device, seed: int
) -> VerifyCase:
    """Run ``kernel`` and the reference with the same weights in every mixer, and compare.

    Raises:
        RuntimeError: whatever the kernel raises.
    """
    generator = torch.Generator().manual_seed(seed)
    several = len(given.splits) > 1
    compared = [
        _compare(_mixer(given, settings, kernel, device, generator), given, generator)
        for settings in (_SEVERAL_MAPS if several else _ONE_MAP)
    ]
    gradients = [part for _, parts in compared for part in parts]
    return VerifyCase(
        shape=given.shape,
        splits=given.splits,
        dtype=given.dtype,
        layout=given.memory_format,
        tolerance=TOLERANCES[given.dtype],
        forward=together([forward for forward, _ in compared]),
        gradient=together(gradients) if gradients else None,
    )


def _mixer(
    given: CheckInput,
    settings: dict[str, Any],
    kernel: MixerKernel,
    device: torch.device,
    generator: torch.Generator,
) -> SpatialShiftMixer:
    """Return a mixer of the case's splits with random weights of its dtype.

    Split attention sums over all positions. Its first weights are as much smaller, as they are
    in a trained model: otherwise the softmax saturates, its gradient vanishes, and in half
    precision even the reference is mostly rounding.
    """
    described = Mixer.model_validate({"splits": given.splits, **settings})
    mixer = SpatialShiftMixer(given.shape[-1], described, kernel)
    for parameter in mixer.parameters():
        scale = parameter.shape[-1] ** -0.5
        parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator))
    if mixer.attention is not None:
        mixer.attention.reduce.weight.data /= given.shape[1] * given.shape[2]
    return mixer.to(device, DTYPES[given.dtype])


def _compare(
    mixer: SpatialShiftMixer, given: CheckInput, generator: torch.Generator
) -> tuple[Deviation, list[Deviation]]:
    """Return how the output and each gradient differ from those in float64 by the reference.

    The output is that of inference mode, and where the kernel trains that of training as well.
    """
    assert mixer.kernel is not None
    tolerance = TOLERANCES[given.dtype]
    channels, device = given.shape[-1], mixer.project.weight.device
    x = given.normals(channels, device, generator)
    upstream = given.normals(channels, device, generator)
    exact = copy.deepcopy(mixer).double()
    exact.set_implementation(registry.get(REFERENCE))
    expected, expected_gradients = _forward_backward(exact, x.double(), upstream.double())
    with torch.inference_mode():
        inferred = deviation(mixer(x), expected, tolerance)
    if not mixer.kernel.trains:
        return inferred, []
    output, gradients = _forward_backward(mixer, x, upstream)
    pairs = zip(gradients, expected_gradients, strict=True)
    return (
        together([deviation(output, expected, tolerance), inferred]),
        [deviation(a, b, tolerance) for a, b in pairs],
    )


def _forward_backward(
    mixer: SpatialShiftMixer, x: Tensor, upstream: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the output and the gradients of the input and of every parameter."""
    leaf = x.detach().requires_grad_()
    output = mixer(leaf)
    gradients = torch.autograd.grad(output, [leaf, *mixer.parameters()], upstream)
    return output.detach(), list(gradients)
