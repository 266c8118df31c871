"""Parameters and multiply-accumulates from the spec alone: no model, no graph, no torch.

The formulas are the papers' (S2-MLP v1, section 3.4), with the biases that they leave out of the
multiplications and the split attention of v2. They check the traced numbers as a second,
independent method for the same figures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from s2mlp_cli.papers.verdicts import Counted, Part
from s2mlp_cli.specs import GFNetSpec, ModelSpec, PyramidSpec, S2MLPSpec, Stage, VipSpec


def closed_form(spec: ModelSpec) -> Counted | None:
    """Count one image through ``spec``; None for a family that has no formulas here."""
    formulas = _FAMILIES.get(spec.family)
    return formulas(spec) if formulas else None


def _s2mlp(spec: S2MLPSpec) -> Counted:
    maps, mixer = len(spec.mixer.splits), spec.mixer

    def block(stage: Stage, tokens: int) -> Part:
        mlp, mlp_biases = _mlp(stage)
        weights, biases = stage.dim**2 * (maps + 1), stage.dim * (maps + 1)
        attention = attention_biases = 0
        if mixer.fusion == "split-attention":
            attention, attention_biases = _attention(stage.dim, maps, mixer.reduction)
        params = weights + biases + mlp + mlp_biases
        params += attention + mixer.attention_bias * attention_biases
        return Part(params, tokens * (weights + mlp) + attention)

    return _pyramid(spec, block, spec.patch_norm, spec.head_norm)


def _vip(spec: VipSpec) -> Counted:
    """The same products as S2-MLPv2 with three splits; other biases."""

    def block(stage: Stage, tokens: int) -> Part:
        mlp, mlp_biases = _mlp(stage)
        attention, attention_biases = _attention(stage.dim, 3, spec.reduction)
        weights, biases = 4 * stage.dim**2, stage.dim
        params = weights + biases + attention + attention_biases + mlp + mlp_biases
        return Part(params, tokens * (weights + mlp) + attention)

    return _pyramid(spec, block)


def _gfnet(spec: GFNetSpec) -> Counted:
    """Only the MLP multiplies matrices: the filters are transforms and products by value."""

    def block(stage: Stage, tokens: int) -> Part:
        mlp, mlp_biases = _mlp(stage)
        return Part(mlp + mlp_biases + spec.layer_scale * stage.dim, tokens * mlp)

    form = _pyramid(spec, block)
    sizes = spec.filters()
    filters = sum(
        stage.depth * stage.dim * 2 * height * (width // 2 + 1)
        for stage, (height, width) in zip(spec.stages, sizes, strict=True)
    )
    positions = sizes[0][0] * sizes[0][1] * spec.stages[0].dim
    return form._replace(params=form.params + filters + positions)


def _pyramid(
    spec: PyramidSpec,
    block: Callable[[Stage, int], Part],
    patch_norm: bool = False,
    head_norm: bool = True,
) -> Counted:
    """Add up patch layers, blocks, norms and the classifier.

    ``block`` counts one block of (stage, tokens) without its two norms, which have the same size in
    every family.
    """
    params = norms = macs = 0
    for channels, stage, (height, width) in zip(
        spec.inputs(), spec.stages, spec.maps(), strict=True
    ):
        tokens = height * width
        one = block(stage, tokens)
        weights = stage.patch**2 * channels * stage.dim
        params += weights + stage.dim + stage.depth * one.params
        macs += tokens * weights + stage.depth * one.macs
        norms += 2 * stage.dim * (2 * stage.depth + patch_norm)
    features = spec.stages[-1].dim
    norms += 2 * features * head_norm
    head = Part((features + 1) * spec.classes, features * spec.classes)
    return Counted(
        params + norms + head.params,
        macs + head.macs,
        {"classifier": head, "norms": Part(norms, 0)},
    )


def _attention(dim: int, maps: int, reduction: int) -> tuple[int, int]:
    """Return the weights and the biases of split attention: C to C/r to K*C."""
    hidden = dim // reduction
    return dim * hidden * (1 + maps), hidden + maps * dim


def _mlp(stage: Stage) -> tuple[int, int]:
    """Return the weights and the biases of a channel MLP: C to r*C to C."""
    return 2 * stage.expansion * stage.dim**2, (stage.expansion + 1) * stage.dim


_FAMILIES: dict[str, Callable[[Any], Counted]] = {
    "s2mlp": _s2mlp,
    "vip": _vip,
    "gfnet": _gfnet,
}
