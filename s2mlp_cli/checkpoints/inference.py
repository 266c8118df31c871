"""Reading the architecture off the tensors of a state dict in this project's naming."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any, NamedTuple

from pydantic import ValidationError

from s2mlp_cli.checkpoints.fit import INFERRED
from s2mlp_cli.checkpoints.names import Grammar
from s2mlp_cli.checkpoints.state_dicts import State
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.records.base import changed
from s2mlp_cli.specs import Mixer, Norm, S2MLPSpec, Stage, built_in, names

# The keys of a spec that tensors contain; of its mixer they contain all but the directions and the
# activation.
_TOLD = ("stages", "in_channels", "classes", "patch_norm", "head_norm")

# How maps are made and joined decides the version; it outweighs the numbers of a stage.
_WEIGHTS = {"maps": 4, "fusion": 4, "stages": 3}

_MIXER = "stages.0.blocks.0.mixer."


class Inferred(NamedTuple):
    """A spec read off tensors, the built-in nearest to it, and what was assumed, in sentences."""

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
    built_ins = {name: each for name in names() if isinstance(each := built_in(name), S2MLPSpec)}
    facts = {name: _facts(each) for name, each in built_ins.items()}
    try:
        told = _told(state)
        same = [n for n, each in facts.items() if {**each, "classes": told["classes"]} == told]
        nearest = max(same or facts, key=lambda name: _shared(told, facts[name]))
        template = built_ins[nearest]
        mixer, norm, note = _untold(told, template, grammar)
        if same and mixer == template.mixer and norm == template.norm:
            same.remove(nearest)
            spec = _with_classes(template, told["classes"])
        else:
            spec = _described(told, template.input_size, mixer, norm)
    except ValidationError as error:
        raise CheckpointError(
            f"the tensors describe no valid S2-MLP ({error.errors()[0]['msg']}); choose its model "
            "with --model"
        ) from error
    notes = [note]
    if same:
        listed = f"{', '.join(same)} have the same tensors"
        notes.append(f"{listed}; choose one with --model if needed")
    return Inferred(spec, nearest, tuple(notes))


def _facts(spec: S2MLPSpec) -> dict[str, Any]:
    """Return what the tensors of a model contain of its spec."""
    mixer = spec.mixer
    attends = mixer.fusion == "split-attention"
    return {
        **{key: getattr(spec, key) for key in _TOLD},
        "maps": len(mixer.splits),
        "fusion": mixer.fusion,
        "reduction": mixer.reduction if attends else None,
        "attention_bias": attends and mixer.attention_bias,
    }


def _told(state: State) -> dict[str, Any]:
    """Return the same facts, read off names and shapes."""
    stages = (int(m[1]) for name in state if (m := re.match(r"stages\.([0-9]{1,4})\.", name)))
    maps = _ratio(state, _MIXER + "expand.weight")
    attends = _MIXER + "attention.reduce.weight" in state
    return {
        "stages": tuple(_stage(state, index) for index in range(1 + max(stages, default=-1))),
        "in_channels": _shape(state, "stages.0.patch.proj.weight", 4)[1],
        "classes": _shape(state, "head.weight", 2)[0],
        "patch_norm": "stages.0.patch.norm.weight" in state,
        "head_norm": "norm.weight" in state,
        "maps": maps,
        "fusion": "none" if maps == 1 else "split-attention" if attends else "mean",
        "reduction": _ratio(state, _MIXER + "attention.reduce.weight", 1) if attends else None,
        "attention_bias": _MIXER + "attention.reduce.bias" in state,
    }


def _shared(told: dict[str, Any], facts: dict[str, Any]) -> int:
    shared: int = sum(_WEIGHTS.get(key, 1) * (told[key] == facts[key]) for key in told)
    pairs = zip(told["stages"], facts["stages"], strict=False)
    widths: int = sum(one.dim == other.dim for one, other in pairs)
    return shared + widths


def _untold(told: dict[str, Any], template: S2MLPSpec, grammar: Grammar) -> tuple[Mixer, Norm, str]:
    """Return what tensors cannot tell: from the code that gave the names, else the template."""
    splits: Any = grammar.splits.get(told["maps"])
    if splits is None:
        splits = (template.mixer.splits * told["maps"])[: told["maps"]]
    mixer = changed(
        template.mixer,
        splits=splits,
        fusion=told["fusion"],
        reduction=told["reduction"] or template.mixer.reduction,
        attention_bias=told["attention_bias"],
    )
    norm = changed(template.norm, **(grammar.norm or {}))
    order = "; ".join(" ".join(split) or "not shifted" for split in splits)
    origin = f"the {grammar.name} code" if grammar.splits else template.name
    note = (
        f"tensors do not contain the order of the directions ({order}) or the norm ({norm.kind}, "
        f"{norm.place}); both were taken from {origin}"
    )
    return mixer, norm, note


def _with_classes(spec: S2MLPSpec, classes: int) -> S2MLPSpec:
    if classes == spec.classes:
        return spec
    title = f"{spec.title}, changed: classes={classes}" if spec.title else ""
    source = f"changed from {spec.source}" if spec.source else ""
    return changed(spec, classes=classes, title=title, source=source)


def _described(told: dict[str, Any], size: tuple[int, int], mixer: Mixer, norm: Norm) -> S2MLPSpec:
    """Return the spec of no built-in model, at the image size next to ``size`` that it takes."""
    step = math.prod(stage.patch for stage in told["stages"])
    height, width = (max(side // step, 1) * step for side in size)
    own = {key: told[key] for key in _TOLD}
    return S2MLPSpec(name=INFERRED, input_size=(height, width), norm=norm, mixer=mixer, **own)


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
