"""Parameters and multiply-accumulates from the spec alone: no model, no graph, no torch.

The formulas are the papers' (S2-MLP v1, section 3.4), with the biases that they leave out of the
multiplications and the split attention of v2. They stand beside the traced numbers as a second,
independent road to the same figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s2mlp_cli.spec import BaseSpec, Mixer, S2MLPSpec, Stage


@dataclass(frozen=True)
class ClosedForm:
    """What a spec comes to, for one image."""

    params: int
    params_head: int
    params_norm: int
    macs: int
    macs_head: int


def closed_form(spec: BaseSpec) -> ClosedForm | None:
    """Return the figures of ``spec``, or None for a family that has no formulas here."""
    formulas = _FAMILIES.get(spec.family)
    return formulas(spec) if formulas else None


def _s2mlp(spec: S2MLPSpec) -> ClosedForm:
    params = norms = macs = 0
    in_channels = spec.in_channels
    for stage, (height, width) in zip(spec.stages, spec.maps(), strict=True):
        tokens = height * width
        weights = stage.patch**2 * in_channels * stage.dim
        params += weights + stage.dim
        macs += tokens * weights
        params += stage.depth * (_mixer_params(stage, spec.mixer) + _mlp_params(stage))
        macs += stage.depth * _block_macs(stage, spec.mixer, tokens)
        norms += 2 * stage.dim * (2 * stage.depth + spec.patch_norm)
        in_channels = stage.dim
    norms += 2 * in_channels * spec.head_norm
    head = (in_channels + 1) * spec.classes
    macs_head = in_channels * spec.classes
    return ClosedForm(params + norms + head, head, norms, macs + macs_head, macs_head)


def _mixer_params(stage: Stage, mixer: Mixer) -> int:
    """Expansion C to K*C, projection C to C, and split attention C to C/r to K*C."""
    dim, maps = stage.dim, len(mixer.splits)
    params = (dim + 1) * maps * dim + (dim + 1) * dim
    if mixer.fusion == "split-attention":
        hidden = dim // mixer.reduction
        params += dim * hidden + hidden * maps * dim
        params += mixer.attention_bias * (hidden + maps * dim)
    return params


def _mlp_params(stage: Stage) -> int:
    hidden = stage.expansion * stage.dim
    return (stage.dim + 1) * hidden + (hidden + 1) * stage.dim


def _block_macs(stage: Stage, mixer: Mixer, tokens: int) -> int:
    """Per token: K C² + C² for the mixer, 2 r C² for the MLP. Per image: the split attention."""
    dim, maps = stage.dim, len(mixer.splits)
    macs = tokens * dim * dim * (maps + 1 + 2 * stage.expansion)
    if mixer.fusion == "split-attention":
        macs += (dim // mixer.reduction) * dim * (1 + maps)
    return macs


_FAMILIES: dict[str, Callable[[Any], ClosedForm]] = {"s2mlp": _s2mlp}
