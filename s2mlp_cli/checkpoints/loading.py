"""From a checkpoint file to a spec and the state dict of its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from pydantic_core import from_json
from torch import nn

from s2mlp_cli.checkpoints.fit import INFERRED, check_fit, compare, fitting_model, shapes_of
from s2mlp_cli.checkpoints.inference import Inferred, infer
from s2mlp_cli.checkpoints.names import GRAMMARS, JITTOR, OURS, Expected, Grammar, Naming
from s2mlp_cli.checkpoints.reading import CheckpointFile, read_checkpoint
from s2mlp_cli.checkpoints.refusals import SHARD
from s2mlp_cli.checkpoints.soundness import check_tensors
from s2mlp_cli.checkpoints.state_dicts import State
from s2mlp_cli.checkpoints.weights import take_weights
from s2mlp_cli.errors import CheckpointError, printable, visible
from s2mlp_cli.models import build_model, default_preprocessing
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.validate import CheckpointFacts
from s2mlp_cli.specs import ModelSpec, S2MLPSpec, TimmSpec, built_in, names, with_input_size
from s2mlp_cli.specs.loading import FAMILIES

# The metadata key of a safetensors file that holds the spec, as JSON.
SPEC_KEY = "s2mlp.spec"
# The same for how images are to be prepared.
PREPROCESSING_KEY = "s2mlp.preprocessing"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that fits its model.

    Attributes:
        spec: given, read from the metadata, or inferred from the tensors.
        state: in this project's naming.
        preprocessing: from the metadata, or None; see :attr:`inputs`.
    """

    spec: ModelSpec
    state: State
    facts: CheckpointFacts
    preprocessing: Preprocessing | None

    @property
    def inputs(self) -> Preprocessing:
        """How images are prepared: as the metadata says, else as the model's authors did."""
        return self.preprocessing or default_preprocessing(self.spec)

    def build(self, shift: str, device: torch.device | str) -> nn.Module:
        """Build the model with these weights, in float32 and evaluation mode."""
        model = build_model(self.spec, shift)
        model.load_state_dict(self.state)
        return model.to(device)


def load_checkpoint(
    path: str | Path,
    spec: ModelSpec | None = None,
    averaged: bool = False,
    name: str | None = None,
    input_size: tuple[int, int] | None = None,
    weights: str | None = None,
) -> Checkpoint:
    """Read a checkpoint, recognise its names and model, and check that the weights fit.

    Args:
        path: the file; for a sharded checkpoint its index or folder.
        spec: the model if the caller knows it; else it is read from metadata or tensors.
        averaged: take the averaged (EMA) weights.
        name: what the record calls the file; its path if None.
        input_size: (height, width) of the images, if not those of the model's spec.
        weights: the key or prefix of the weights to take, in a file that has several.

    Raises:
        CheckpointError: it cannot be read, is refused, fits no model, or has NaN in it.
        SpecError: the model does not support this size.
    """
    file = read_checkpoint(path)
    with _faults_of(file, path):
        known = spec or spec_in_metadata(file.metadata)
        found = take_weights(file.content, _namings(known), averaged, weights)
        check_tensors(found.state, file.bytes)
        inferred = None
        if known is None and isinstance(found.naming, Grammar):
            inferred = infer(found.state, found.naming)
            known = inferred.spec
        model, state, notes = _at_size(found.state, known or fitting_model(found.state), input_size)
        if inferred is not None:
            model, notes = _completed(inferred, model, file.path, input_size)
        preprocessing = preprocessing_in_metadata(file.metadata)
    facts = CheckpointFacts(
        path=name or str(path),
        sha256=file.sha256,
        bytes=file.bytes,
        form=file.form,
        taken=found.taken,
        layout=(found.naming and found.naming.name) or model.name,
        nearest=inferred and inferred.nearest,
        stated=(*found.notes, *notes),
    )
    return Checkpoint(model, state, facts, preprocessing)


def load_weights(
    path: str | Path,
    model: str,
    expected: Mapping[str, tuple[int, ...]],
    averaged: bool = False,
    weights: str | None = None,
) -> tuple[State, CheckpointFile]:
    """Read the weights of a model that only its own code describes.

    Args:
        path: the file.
        model: what messages call it.
        expected: name -> shape of its tensors.
        averaged: take the averaged (EMA) weights.
        weights: the key or prefix of the weights to take, in a file that has several.

    Raises:
        CheckpointError: it cannot be read, is refused, does not fit, or has NaN in it.
    """
    file = read_checkpoint(path)
    namings = [Expected(model, [expected])]
    with _faults_of(file, path):
        state = take_weights(file.content, namings, averaged, weights).state
        check_tensors(state, file.bytes)
        comparison = compare(state, expected)
        if not comparison.fits:
            raise CheckpointError(
                f"the checkpoint does not fit {model}: {comparison.describe()}; check the "
                "arguments of the model (--set) and the checkpoint"
            )
    return state, file


def _completed(
    inferred: Inferred, spec: ModelSpec, path: Path, size: tuple[int, int] | None
) -> tuple[ModelSpec, tuple[str, ...]]:
    """Name a model that is not built in after its file; return it, and all that is assumed."""
    notes = inferred.notes
    if size is None:
        height, width = spec.input_size
        notes += (
            f"tensors do not contain the image size; {height}x{width} is assumed (set it with "
            "--input-size)",
        )
    if spec.name == INFERRED:
        spec = changed(spec, name=visible(printable(path.stem))[:200])
    return spec, notes


@contextmanager
def _faults_of(file: CheckpointFile, path: str | Path) -> Iterator[None]:
    """Name the file in what is wrong with its tensors; a shard alone has no more to be said of."""
    try:
        yield
    except CheckpointError as error:
        shard = SHARD.search(file.path.name)
        fault = str(error)
        if shard is not None and shard[2] != "1":
            fault = (
                f"it is shard {shard[1]} of {shard[2]}; give the index (.index.json) or the folder"
            )
        raise CheckpointError(f"{path}: {fault}") from error


def _namings(spec: ModelSpec | None) -> Iterator[Naming]:
    """Yield whose names the tensors may have: of all models only if they are not an S2-MLP's."""
    if spec is None:
        yield from GRAMMARS
        yield Expected("", [shapes_of(built_in(name)) for name in names()])
        return
    expected = shapes_of(spec)
    is_ours = isinstance(spec, S2MLPSpec)
    yield Expected(OURS.name if is_ours else spec.name, [expected])
    if is_ours:
        yield Expected(JITTOR.name, [expected], JITTOR)


def _at_size(
    state: State, spec: ModelSpec, size: tuple[int, int] | None
) -> tuple[ModelSpec, State, tuple[str, ...]]:
    """Check that the weights fit the model at an image size; return both, and notes.

    Weights of timm's own size serve at another where timm interpolates their position embeddings.
    """
    asked = spec if size is None else with_input_size(spec, size)
    notes: tuple[str, ...] = ()
    if isinstance(asked, TimmSpec) and asked != spec:
        fits_asked, fits_own = (compare(state, shapes_of(each)).fits for each in (asked, spec))
        if fits_own and not fits_asked:
            from s2mlp_cli.models.timm_models import interpolated_positions

            state = interpolated_positions(asked, state)
            sizes = " to ".join(f"{h}x{w}" for h, w in (spec.input_size, asked.input_size))
            notes = (f"the position embeddings were interpolated from {sizes}, as timm does it",)
    check_fit(state, asked)
    return asked, state, notes


def spec_in_metadata(metadata: Mapping[str, str]) -> ModelSpec | None:
    """Return the spec that a converted or exported file carries, or None.

    Raises:
        CheckpointError: there is one, but it is not valid.
    """
    text = metadata.get(SPEC_KEY)
    if text is None:
        return None
    try:
        family = FAMILIES[from_json(text)["family"]]
        return family.model_validate_json(text)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            "the spec in its metadata is not valid; name the model with --model"
        ) from error


def preprocessing_in_metadata(metadata: Mapping[str, str]) -> Preprocessing | None:
    """Return how a file's own metadata wants images prepared, or None.

    Raises:
        CheckpointError: it says so, but wrongly.
    """
    text = metadata.get(PREPROCESSING_KEY)
    if text is None:
        return None
    try:
        return Preprocessing.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(
            f"{PREPROCESSING_KEY} in its metadata is not valid; convert the checkpoint again"
        ) from error
