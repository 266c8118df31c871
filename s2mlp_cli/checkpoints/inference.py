"""Reading the architecture off the tensors of a state dict in this project's naming."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from s2mlp_cli.checkpoints.fit import INFERRED
from s2mlp_cli.checkpoints.names import Grammar
from s2mlp_cli.checkpoints.state_dicts import State
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.specs import Mixer, S2MLPSpec, Stage, built_in, names
from s2mlp_cli.specs.model import Norm


@dataclass(frozen=True)
class Architecture:
    """What tensors contain: everything but directions, kind and place of the norms, activation."""

    stages: tuple[Stage, ...]
    in_channels: int
    classes: int
    maps: int
    fusion: str
    reduction: int | None
    attention_bias: bool
    patch_norm: bool
    head_norm: bool

    @classmethod
    def of_state(cls, state: State) -> Architecture:
        """Read the architecture off names and shapes.

        Raises:
            CheckpointError: a tensor that every S2-MLP has is missing or of an odd shape.
        """
        count = 1 + max(
            (int(m[1]) for n in state if (m := re.match(r"stages\.([0-9]{1,4})\.", n))), default=-1
        )
        stages = tuple(_stage(state, index) for index in range(count))
        mixer = "stages.0.blocks.0.mixer."
        maps = _ratio(state, mixer + "expand.weight")
        attends = mixer + "attention.reduce.weight" in state
        return cls(
            stages,
            in_channels=_shape(state, "stages.0.patch.proj.weight", 4)[1],
            classes=_shape(state, "head.weight", 2)[0],
            maps=maps,
            fusion="none" if maps == 1 else "split-attention" if attends else "mean",
            reduction=_ratio(state, mixer + "attention.reduce.weight", 1) if attends else None,
            attention_bias=mixer + "attention.reduce.bias" in state,
            patch_norm="stages.0.patch.norm.weight" in state,
            head_norm="norm.weight" in state,
        )

    @classmethod
    def of_spec(cls, spec: S2MLPSpec) -> Architecture:
        """Return the same facts of a spec, to compare."""
        attends = spec.mixer.fusion == "split-attention"
        return cls(
            spec.stages,
            spec.in_channels,
            spec.classes,
            len(spec.mixer.splits),
            spec.mixer.fusion,
            spec.mixer.reduction if attends else None,
            spec.mixer.attention_bias if attends else False,
            spec.patch_norm,
            spec.head_norm,
        )


@dataclass(frozen=True)
class Inferred:
    """A spec read off tensors.

    Attributes:
        spec: all of it.
        nearest: the built-in of the same architecture, or the one with most facts in common.
        notes: what was assumed and why, in sentences.
    """

    spec: S2MLPSpec
    nearest: str
    notes: tuple[str, ...]


def infer(state: State, grammar: Grammar) -> Inferred:
    """Return the spec that ``state`` (in our naming) fits.

    Args:
        state: under our names.
        grammar: whose names the file has; its code fixes what tensors do not contain.

    Raises:
        CheckpointError: these are not the tensors of an S2-MLP.
    """
    built_ins = [spec for spec in map(built_in, names()) if isinstance(spec, S2MLPSpec)]
    try:
        told = Architecture.of_state(state)
        ranked = sorted(built_ins, key=lambda spec: -_shared(told, Architecture.of_spec(spec)))
        template = ranked[0]
        described = {spec.name: Architecture.of_spec(spec) for spec in ranked}
        same = [n for n, each in described.items() if replace(each, classes=told.classes) == told]
        mixer, norm, note = _untold(told, template, grammar)
        fits = bool(same) and mixer == template.mixer and norm == template.norm
        if fits:
            spec = _with_classes(template, told.classes)
        else:
            spec = _build(told, template, mixer, norm)
    except ValidationError as error:
        raise CheckpointError(
            f"the tensors describe no valid S2-MLP ({error.errors()[0]['msg']}); choose its model "
            "with --model"
        ) from error
    notes = [note]
    if others := [name for name in same if not (fits and name == template.name)]:
        same_tensors = f"{', '.join(others)} have the same tensors"
        notes.append(f"{same_tensors}; choose one with --model if needed")
    return Inferred(spec, template.name, tuple(notes))


def _with_classes(spec: S2MLPSpec, classes: int) -> S2MLPSpec:
    if classes == spec.classes:
        return spec
    title = f"{spec.title}, changed: classes={classes}" if spec.title else ""
    source = f"changed from {spec.source}" if spec.source else ""
    changes = {"classes": classes, "title": title, "source": source}
    return S2MLPSpec.model_validate({**spec.model_dump(), **changes})


def _untold(told: Architecture, template: S2MLPSpec, grammar: Grammar) -> tuple[Mixer, Norm, str]:
    """Return what tensors cannot tell: from the code that gave the names, else the template."""
    splits: Any = grammar.splits.get(told.maps)
    if splits is None:
        splits = (template.mixer.splits * told.maps)[: told.maps]
    origin = f"the {grammar.name} code" if grammar.splits else template.name
    mixer = Mixer.model_validate(
        {
            "splits": splits,
            "activation": template.mixer.activation,
            "fusion": told.fusion,
            "reduction": told.reduction or template.mixer.reduction,
            "attention_bias": told.attention_bias,
        }
    )
    norm = Norm.model_validate({**template.norm.model_dump(), **(grammar.norm or {})})
    order = "; ".join(" ".join(split) or "not shifted" for split in splits)
    note = (
        f"tensors do not contain the order of the directions ({order}) or the norm ({norm.kind}, "
        f"{norm.place}); both were taken from {origin}"
    )
    return mixer, norm, note


def _build(told: Architecture, template: S2MLPSpec, mixer: Mixer, norm: Norm) -> S2MLPSpec:
    total = 1
    for stage in told.stages:
        total *= stage.patch
    height, width = (max(side // total, 1) * total for side in template.input_size)
    return S2MLPSpec(
        name=INFERRED,
        input_size=(height, width),
        in_channels=told.in_channels,
        classes=told.classes,
        stages=told.stages,
        norm=norm,
        patch_norm=told.patch_norm,
        head_norm=told.head_norm,
        mixer=mixer,
    )


def _shared(one: Architecture, other: Architecture) -> int:
    fields = vars(one)
    # How maps are made and joined decides the version; it outweighs the numbers of a stage.
    weight: dict[str, int] = {"maps": 4, "fusion": 4, "stages": 3}
    shared: int = sum(weight.get(name, 1) * (fields[name] == vars(other)[name]) for name in fields)
    pairs = zip(one.stages, other.stages, strict=False)
    return shared + sum(a.dim == b.dim for a, b in pairs)


def _stage(state: State, index: int) -> Stage:
    prefix = f"stages.{index}."
    dim, _, patch, _ = _shape(state, prefix + "patch.proj.weight", 4)
    pattern = re.compile(re.escape(prefix) + r"blocks\.([0-9]{1,4})\.")
    blocks = {int(match[1]) for match in map(pattern.match, state) if match}
    absent = next(number for number in itertools.count() if number not in blocks)
    if absent < len(blocks):
        raise CheckpointError(
            f"the checkpoint has no block {prefix}blocks.{absent}, but later ones; it is incomplete"
        )
    expansion = _ratio(state, prefix + "blocks.0.mlp.fc1.weight")
    return Stage(patch=patch, dim=dim, depth=len(blocks), expansion=expansion)


def _ratio(state: State, name: str, axis: int = 0) -> int:
    """Return how many times one side of a matrix, that along ``axis``, is the other."""
    shape = _shape(state, name, 2)
    long, short = shape[axis], shape[1 - axis]
    if not short or long % short:
        raise CheckpointError(
            f"{name} is {shape[0]}x{shape[1]} in the checkpoint, not a multiple, so it is not an "
            "S2-MLP; choose its model with --model"
        )
    return long // short


def _shape(state: State, name: str, axes: int) -> tuple[int, ...]:
    if name not in state or state[name].dim() != axes:
        found = f"has {state[name].dim()} axes instead of {axes}" if name in state else "is missing"
        raise CheckpointError(
            f"the architecture cannot be read off the checkpoint: {name} {found}; choose its model "
            "with --model"
        )
    return tuple(state[name].shape)
