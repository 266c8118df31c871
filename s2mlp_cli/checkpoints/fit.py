"""How a state dict differs from what a model expects, and which models it resembles most."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from s2mlp_cli.checkpoints.state_dicts import State
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.models import build_model
from s2mlp_cli.records.base import changed
from s2mlp_cli.specs import ModelSpec, built_in, names

Shapes = Mapping[str, tuple[int, ...]]

# The name of a spec that was read off tensors and is none of the built-in ones.
INFERRED = "checkpoint"


@dataclass(frozen=True)
class Comparison:
    """Names that a model expects but are not there, are there but unknown, or differ in shape.

    Attributes:
        wrong_shape: (name, shape in the checkpoint, shape that the model expects).
        matching: tensors of the right name and shape.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    matching: int

    @property
    def fits(self) -> bool:
        """Whether the state dict is exactly that of the model."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    @property
    def similarity(self) -> float:
        """The fraction of all names that match."""
        others = len(self.missing) + len(self.unexpected) + len(self.wrong_shape)
        return self.matching / (self.matching + others)

    def describe(self) -> str:
        """Return the differences in words, with the first of each kind."""
        parts = []
        if self.missing:
            parts.append(f"{len(self.missing)} missing (first {self.missing[0]})")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} unexpected (first {self.unexpected[0]})")
        if self.wrong_shape:
            name, found, wanted = self.wrong_shape[0]
            parts.append(
                f"{len(self.wrong_shape)} with another shape (first {name}: {_text(found)} instead "
                f"of {_text(wanted)})"
            )
        return ", ".join(parts)


@functools.cache
def shapes_of(spec: ModelSpec) -> Shapes:
    """Return name -> shape of every tensor in the model of ``spec``, without building weights."""
    model = build_model(spec, device="meta")
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def compare(state: State, expected: Shapes) -> Comparison:
    """Compare names and shapes."""
    shared = [name for name in expected if name in state]
    wrong = tuple(
        (name, tuple(state[name].shape), expected[name])
        for name in shared
        if tuple(state[name].shape) != expected[name]
    )
    return Comparison(
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        wrong_shape=wrong,
        matching=len(shared) - len(wrong),
    )


def nearest_models(state: State) -> list[tuple[str, Comparison]]:
    """Return the five built-in models that share most tensors with ``state``, the nearest first."""
    compared = [(name, compare(state, shapes_of(built_in(name)))) for name in names()]
    return sorted(compared, key=lambda pair: pair[1].similarity, reverse=True)[:5]


def check_fit(state: State, spec: ModelSpec) -> None:
    """Check that ``state`` is exactly the state dict of the model of ``spec``.

    Raises:
        CheckpointError: it is not; names the differences and the five nearest models.
    """
    comparison = compare(state, shapes_of(spec))
    if not comparison.fits:
        classes = _other_classes(state, spec, comparison)
        near = [] if classes else [each for each in nearest_models(state) if each[1].matching]
        if classes:
            remedy = f"it was trained for {classes} classes, so add --set classes={classes}"
        elif near:
            remedy = f"nearest: {_names(near)}"
        else:
            remedy = "check --model and the checkpoint"
        called = "what its own tensors describe" if spec.name == INFERRED else spec.name
        raise CheckpointError(
            f"the checkpoint does not fit {called}: {comparison.describe()}; {remedy}"
        )


def fitting_model(state: State) -> ModelSpec:
    """Return the one built-in model whose tensors have exactly these names and shapes.

    Raises:
        CheckpointError: there is none, or there are several, and only the user can tell.
    """
    nearest = nearest_models(state)
    fitting = [name for name, comparison in nearest if comparison.fits]
    if len(fitting) == 1:
        return built_in(fitting[0])
    if fitting:
        raise CheckpointError(
            f"the checkpoint matches {' and '.join(fitting)}; choose one with --model"
        )
    name, comparison = nearest[0]
    first = f"the checkpoint matches no known model (its first tensor is '{next(iter(state))}')"
    if not comparison.matching:
        raise CheckpointError(f"{first}; choose its model with --model")
    classes = _other_classes(state, built_in(name), comparison)
    if classes:
        raise CheckpointError(
            f"the checkpoint matches {name} except that its classifier has {classes} classes; use "
            f"--model {name} --set classes={classes}"
        )
    raise CheckpointError(
        f"{first}; compared with {name}: {comparison.describe()}; nearest: {_names(nearest)}; "
        "choose its model with --model"
    )


def _other_classes(state: State, spec: ModelSpec, comparison: Comparison) -> int | None:
    """Return the number of classes with which the checkpoint would fit, where only that differs."""
    heads = {
        found[:1] for _, found, wanted in comparison.wrong_shape if wanted[:1] == (spec.classes,)
    }
    for classes in (first for head in heads for first in head if 0 < first <= 1_000_000):
        if compare(state, shapes_of(changed(spec, classes=classes))).fits:
            return classes
    return None


def _names(nearest: list[tuple[str, Comparison]]) -> str:
    return ", ".join(name for name, _ in nearest)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
