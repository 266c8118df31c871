"""Parameters and multiply-accumulates from the spec alone: no model, no graph, no torch.

The formulas are the papers' (S2-MLP v1, section 3.4), with the biases that they leave out of the
multiplications and the split attention of v2. They stand beside the traced numbers as a second,
independent method for the same figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from s2mlp_cli.specs import GFNetSpec, ModelSpec, PyramidSpec, S2MLPSpec, Stage, VipSpec


@dataclass(frozen=True)
class ClosedForm:
    """What a spec comes to, for one image."""

    params: int
    params_head: int
    params_norm: int
    macs: int
    macs_head: int


def closed_form(spec: ModelSpec) -> ClosedForm | None:
    """Return the figures of ``spec``, or None for a family that has no formulas here."""
    formulas = _FAMILIES.get(spec.family)
    return formulas(spec) if formulas else None


@dataclass(frozen=True)
class _Block:
    """One block, without its two norms; they have the same size in every family."""

    params: int
    macs: int


def _s2mlp(spec: S2MLPSpec) -> ClosedForm:
    mixer, maps = spec.mixer, len(spec.mixer.splits)

    def block(stage: Stage, tokens: int) -> _Block:
        biases = stage.dim * (maps + 1)
        params = _mixer_weights(stage.dim, maps) + biases + _mlp_params(stage)
        macs = tokens * (_mixer_weights(stage.dim, maps) + _mlp_weights(stage))
        if mixer.fusion == "split-attention":
            weights, biases = _attention(stage.dim, maps, mixer.reduction)
            params += weights + mixer.attention_bias * biases
            macs += weights
        return _Block(params, macs)

    return _pyramid(spec, block, spec.patch_norm, spec.head_norm)


def _vip(spec: VipSpec) -> ClosedForm:
    """The same products as S2-MLPv2 with three splits; other biases."""

    def block(stage: Stage, tokens: int) -> _Block:
        weights, biases = _attention(stage.dim, 3, spec.reduction)
        params = _mixer_weights(stage.dim, 3) + stage.dim + weights + biases + _mlp_params(stage)
        macs = tokens * (_mixer_weights(stage.dim, 3) + _mlp_weights(stage)) + weights
        return _Block(params, macs)

    return _pyramid(spec, block)


def _gfnet(spec: GFNetSpec) -> ClosedForm:
    """Only the MLP multiplies matrices: the filters are transforms and products by value."""

    def block(stage: Stage, tokens: int) -> _Block:
        params = _mlp_params(stage) + spec.layer_scale * stage.dim
        return _Block(params, tokens * _mlp_weights(stage))

    form = _pyramid(spec, block)
    sizes = spec.filters()
    filters = sum(
        stage.depth * stage.dim * 2 * height * (width // 2 + 1)
        for stage, (height, width) in zip(spec.stages, sizes, strict=True)
    )
    positions = sizes[0][0] * sizes[0][1] * spec.stages[0].dim
    return replace(form, params=form.params + filters + positions)


def _pyramid(
    spec: PyramidSpec,
    block: Callable[[Stage, int], _Block],
    patch_norm: bool = False,
    head_norm: bool = True,
) -> ClosedForm:
    """Add up patch layers, blocks, norms and the classifier; ``block`` is of (stage, tokens)."""
    params = norms = macs = 0
    in_channels = spec.in_channels
    for stage, (height, width) in zip(spec.stages, spec.maps(), strict=True):
        tokens = height * width
        one = block(stage, tokens)
        weights = stage.patch**2 * in_channels * stage.dim
        params += weights + stage.dim + stage.depth * one.params
        macs += tokens * weights + stage.depth * one.macs
        norms += 2 * stage.dim * (2 * stage.depth + patch_norm)
        in_channels = stage.dim
    norms += 2 * in_channels * head_norm
    head = (in_channels + 1) * spec.classes
    macs_head = in_channels * spec.classes
    return ClosedForm(params + norms + head, head, norms, macs + macs_head, macs_head)


def _mixer_weights(dim: int, maps: int) -> int:
    """C to K*C for the maps, and C to C for the projection."""
    return dim * dim * (maps + 1)


def _attention(dim: int, maps: int, reduction: int) -> tuple[int, int]:
    """Return the weights and the biases of split attention: C to C/r to K*C."""
    hidden = dim // reduction
    return dim * hidden * (1 + maps), hidden + maps * dim


def _mlp_weights(stage: Stage) -> int:
    return 2 * stage.expansion * stage.dim * stage.dim


def _mlp_params(stage: Stage) -> int:
    return _mlp_weights(stage) + (stage.expansion + 1) * stage.dim


_FAMILIES: dict[str, Callable[[Any], ClosedForm]] = {
    "s2mlp": _s2mlp,
    "vip": _vip,
    "gfnet": _gfnet,
}
