"""One kernel for the whole mixer against the reference mixer, within a tolerance per dtype.

A kernel that replaces expansion, shift, fusion and projection adds up in another order than the
reference, so it cannot equal it in every bit. Both are given the same weights and inputs, rounded
to the dtype; the reference then computes in float64, and the error allowed is a stated fraction
of the largest value of each output and each gradient.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from s2mlp_cli.measure.verify_cases import DTYPES, Question, deviation
from s2mlp_cli.models.mixer import SpatialShiftMixer
from s2mlp_cli.records.verify import Deviation, VerifyCase
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import MixerKernel
from s2mlp_cli.spec import Mixer

TOLERANCES = {"fp64": 1e-12, "fp32": 1e-5, "fp16": 8e-3, "bf16": 6e-2}
"""Allowed error, relative to the largest value. In the half-precision types the maps between the
steps are rounded too: eight units in the last place cover that; wrong pixels cost far more."""

REDUCTION = 4


def check_mixer(
    kernel: MixerKernel, question: Question, device: torch.device, seed: int
) -> VerifyCase:
    """Run ``kernel`` and the reference mixer with the same weights, and compare.

    Raises:
        RuntimeError: whatever the kernel raises.
    """
    tolerance = TOLERANCES[question.dtype]
    generator = torch.Generator().manual_seed(seed)
    channels = question.shape[-1]
    mixer = _mixer(question, kernel, device, generator)
    x = question.normals(channels, device, generator)
    upstream = question.normals(channels, device, generator)
    exact = copy.deepcopy(mixer).double()
    exact.set_implementation(registry.get("oracle"))
    expected, expected_gradients = _forward_backward(exact, x.double(), upstream.double())
    if kernel.trains:
        output, gradients = _forward_backward(mixer, x, upstream)
    else:
        with torch.no_grad():
            output, gradients = mixer(x), []
    pairs = zip(gradients, expected_gradients, strict=False)
    return VerifyCase(
        shape=question.shape,
        splits=question.splits,
        dtype=question.dtype,
        layout=question.layout,
        tolerance=tolerance,
        forward=deviation(output, expected, tolerance),
        gradient=_together([deviation(a, b, tolerance) for a, b in pairs]),
    )


def _mixer(
    question: Question, kernel: MixerKernel, device: torch.device, generator: torch.Generator
) -> SpatialShiftMixer:
    """Return a mixer of the case's splits with random weights of its dtype."""
    several = len(question.splits) > 1
    settings = Mixer.model_validate(
        {
            "splits": question.splits,
            "activation": "none" if several else "gelu",
            "fusion": "split-attention" if several else "none",
            "reduction": REDUCTION,
        }
    )
    mixer = SpatialShiftMixer(question.shape[-1], settings, kernel)
    for parameter in mixer.parameters():
        scale = parameter.shape[-1] ** -0.5
        values = scale * torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(values)
    return mixer.to(device, DTYPES[question.dtype])


def _forward_backward(
    mixer: SpatialShiftMixer, x: Tensor, upstream: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the output and the gradients of the input and of every parameter."""
    leaf = x.detach().requires_grad_()
    output = mixer(leaf)
    gradients = torch.autograd.grad(output, [leaf, *mixer.parameters()], upstream)
    return output.detach(), list(gradients)


def _together(parts: list[Deviation]) -> Deviation | None:
    """Add up the deviations of several tensors."""
    if not parts:
        return None
    errors = [part.max_error for part in parts]
    return Deviation(
        wrong=sum(part.wrong for part in parts),
        elements=sum(part.elements for part in parts),
        max_error=None if None in errors else max(error for error in errors if error is not None),
    )
