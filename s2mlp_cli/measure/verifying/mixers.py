"""One kernel for the whole mixer against the reference mixer, within a tolerance per dtype.

A kernel that replaces expansion, shift, fusion and projection adds up in another order than the
reference, so it cannot equal it in every bit. Both are given the same weights and inputs, rounded
to the dtype; the reference then computes in float64, and the error allowed is a stated fraction
of the largest value of each output and each gradient.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from s2mlp_cli.measure.verifying.cases import DTYPES, Question, deviation, together
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.records.verify import Deviation, VerifyCase
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import MixerKernel
from s2mlp_cli.specs import Mixer

# Allowed error, relative to the largest value. In the half-precision types the maps between the
# steps are rounded too: eight units in the last place cover that; wrong pixels cost far more.
TOLERANCES = {"fp64": 1e-12, "fp32": 1e-5, "fp16": 8e-3, "bf16": 6e-2}

_ONE_MAP: tuple[dict[str, Any], ...] = (
    {"activation": "gelu", "fusion": "none"},
    {"activation": "none", "fusion": "none"},
)
# The mixers that a case stands for: v1's and v2's, the mean of table 6, third-party variants.
_SEVERAL_MAPS: tuple[dict[str, Any], ...] = (
    {"activation": "none", "fusion": "split-attention", "reduction": 4},
    {"activation": "gelu", "fusion": "split-attention", "reduction": 1, "attention_bias": True},
    {"activation": "none", "fusion": "mean"},
)


def check_mixer(
    kernel: MixerKernel, question: Question, device: torch.device, seed: int
) -> VerifyCase:
    """Run ``kernel`` and the reference with the same weights in every mixer, and compare.

    Raises:
        RuntimeError: whatever the kernel raises.
    """
    generator = torch.Generator().manual_seed(seed)
    several = len(question.splits) > 1
    compared = [
        _compare(_mixer(question, settings, kernel, device, generator), question, generator)
        for settings in (_SEVERAL_MAPS if several else _ONE_MAP)
    ]
    gradients = [part for _, parts in compared for part in parts]
    return VerifyCase(
        shape=question.shape,
        splits=question.splits,
        dtype=question.dtype,
        layout=question.layout,
        tolerance=TOLERANCES[question.dtype],
        forward=together([forward for forward, _ in compared]),
        gradient=together(gradients) if gradients else None,
    )


def _mixer(
    question: Question,
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
    described = Mixer.model_validate({"splits": question.splits, **settings})
    mixer = SpatialShiftMixer(question.shape[-1], described, kernel)
    for parameter in mixer.parameters():
        scale = parameter.shape[-1] ** -0.5
        parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator))
    if mixer.attention is not None:
        mixer.attention.reduce.weight.data /= question.shape[1] * question.shape[2]
    return mixer.to(device, DTYPES[question.dtype])


def _compare(
    mixer: SpatialShiftMixer, question: Question, generator: torch.Generator
) -> tuple[Deviation, list[Deviation]]:
    """Return how the output and each gradient differ from those in float64 by the oracle.

    The output is that of inference mode, and where the kernel trains that of training as well.
    """
    assert mixer.kernel is not None
    tolerance = TOLERANCES[question.dtype]
    channels, device = question.shape[-1], mixer.project.weight.device
    x = question.normals(channels, device, generator)
    upstream = question.normals(channels, device, generator)
    exact = copy.deepcopy(mixer).double()
    exact.set_implementation(registry.get("oracle"))
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
