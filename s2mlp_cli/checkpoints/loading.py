"""From a checkpoint file to a spec and the state dict of its model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from s2mlp_cli.checkpoints.compare import check_fit, compare, fitting_model, shapes_of
from s2mlp_cli.checkpoints.inference import infer, nearest_built_in
from s2mlp_cli.checkpoints.layouts import recognise
from s2mlp_cli.checkpoints.reading import CheckpointFile, most_bytes, read_checkpoint
from s2mlp_cli.checkpoints.wrappers import State, take_weights
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.models import build_model
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.validate import CheckpointFacts
from s2mlp_cli.specs import ModelSpec, S2MLPSpec, TimmSpec, names, with_input_size
from s2mlp_cli.specs.loading import FAMILIES

# The metadata key of a safetensors file under which the spec stands, as JSON.
SPEC_KEY = "s2mlp.spec"
# The same for how images are to be prepared.
PREPROCESSING_KEY = "s2mlp.preprocessing"


_WEIGHTS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
# What buffers hold, such as the batches that a norm has seen. Copying any other kind of number into
# float32 parameters would pass in silence and give another model.
_COUNTS = frozenset({torch.int64, torch.int32, torch.bool})


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that fits its model.

    Attributes:
        spec: given, read from the metadata, or inferred from the tensors.
        state: in this project's naming.
        preprocessing: from the metadata, or None.
    """

    spec: ModelSpec
    state: State
    facts: CheckpointFacts
    preprocessing: Preprocessing | None

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
) -> Checkpoint:
    """Read a checkpoint, recognise its layout and model, and check that both fit.

    Args:
        path: the file.
        spec: the model if the caller knows it; else metadata or tensors have to tell.
        averaged: take the averaged (EMA) weights.
        name: what the record calls the file; its path if None.
        input_size: (height, width) of the images, if not those of the model's spec.

    Raises:
        CheckpointError: it cannot be read, is refused, fits no model, or holds NaN.
        SpecError: the model cannot take this size.
    """
    file = read_checkpoint(path)
    try:
        return _understood(file, spec, averaged, name or str(path), input_size)
    except CheckpointError as error:  # what looks at tensors does not know where they come from
        raise CheckpointError(f"{path}: {error}") from error


def _understood(
    file: CheckpointFile,
    spec: ModelSpec | None,
    averaged: bool,
    name: str,
    input_size: tuple[int, int] | None,
) -> Checkpoint:
    taken = take_weights(file.content, averaged)
    layout = recognise(taken.state)
    state = layout.rename(taken.state) if layout else taken.state
    _check_plain(state)
    _check_room(state, file.bytes)
    known = spec or spec_in_metadata(file)
    inferred = infer(state, layout) if known is None and layout else None
    chosen = known or (inferred.spec if inferred else fitting_model(state))
    sized = _at_size(state, chosen, input_size)
    _check_finite(state)
    stated = (*(inferred.stated if inferred else ()), *sized.stated)
    if inferred and input_size is None:
        stated = (*stated, _assumed_size(chosen))
    facts = CheckpointFacts(
        path=name,
        sha256=file.sha256,
        bytes=file.bytes,
        form=file.form,
        taken=taken.description,
        layout=layout.name if layout else chosen.name,
        nearest=inferred.nearest if inferred else _nearest(chosen),
        stated=stated,
    )
    return Checkpoint(sized.spec, sized.state, facts, preprocessing_in_metadata(file))


@dataclass(frozen=True)
class _Sized:
    """A model at an image size, and the weights for it."""

    spec: ModelSpec
    state: State
    stated: tuple[str, ...] = ()


def _at_size(state: State, spec: ModelSpec, size: tuple[int, int] | None) -> _Sized:
    """Check that the weights fit the model at an image size.

    Weights of timm's own size serve at another where timm interpolates their position embeddings.
    """
    asked = spec if size is None else with_input_size(spec, size)
    sized = _Sized(asked, state)
    if isinstance(spec, TimmSpec) and asked != spec:
        fits_asked, fits_own = (compare(state, shapes_of(each)).fits for each in (asked, spec))
        if fits_own and not fits_asked:
            sized = _interpolated(state, spec, asked)
    check_fit(sized.state, asked)
    return sized


def _interpolated(state: State, spec: TimmSpec, asked: ModelSpec) -> _Sized:
    from s2mlp_cli.models.timm_models import interpolated_positions

    assert isinstance(asked, TimmSpec)
    sizes = " to ".join(
        f"{height}x{width}" for height, width in (spec.input_size, asked.input_size)
    )
    said = f"the position embeddings were interpolated from {sizes}, as timm does it"
    return _Sized(asked, interpolated_positions(asked, state), (said,))


def _assumed_size(spec: ModelSpec) -> str:
    height, width = spec.input_size
    return f"tensors do not tell the image size: {height}x{width} is assumed (see --input-size)"


def _nearest(spec: ModelSpec) -> str | None:
    """Return the built-in that is nearest to a spec of somebody's own, where families allow."""
    if not isinstance(spec, S2MLPSpec) or spec.name in names():
        return None
    return nearest_built_in(spec)


def spec_in_metadata(file: CheckpointFile) -> ModelSpec | None:
    """Return the spec that a converted file carries, or None.

    Raises:
        CheckpointError: there is one, but it is not valid.
    """
    text = file.metadata.get(SPEC_KEY)
    if text is None:
        return None
    try:
        family = FAMILIES[json.loads(text)["family"]]
        return family.model_validate_json(text)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the spec in its metadata is not valid ({type(error).__name__}); name the model with "
            "--model"
        ) from error


def preprocessing_in_metadata(file: CheckpointFile) -> Preprocessing | None:
    """Return how a file's own metadata wants images prepared, or None.

    Raises:
        CheckpointError: it says so, but wrongly.
    """
    text = file.metadata.get(PREPROCESSING_KEY)
    if text is None:
        return None
    try:
        return Preprocessing.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(
            f"{PREPROCESSING_KEY} in its metadata is not valid; convert the checkpoint again"
        ) from error


def _check_plain(state: State) -> None:
    """Hold that every tensor is plain numbers that are there."""
    for name, tensor in state.items():
        if tensor.is_meta:
            raise CheckpointError(
                f"{name} is a meta tensor in the checkpoint: a shape without values; save the "
                "model after its weights were loaded"
            )
        if tensor.layout != torch.strided or tensor.dtype not in _WEIGHTS | _COUNTS:
            raise CheckpointError(
                f"{name} is {tensor.dtype} ({tensor.layout}) in the checkpoint, no plain "
                "floating-point weights; save the model before it is quantised or made sparse"
            )


def _check_room(state: State, file_bytes: int) -> None:
    """Hold that the file has room for its tensors: a view may repeat one value a billion times."""
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if total > most_bytes(file_bytes):
        raise CheckpointError(
            f"its tensors have {total:,} bytes, and the file only {file_bytes:,}, so that they are "
            "views of a few values; save the model with tensors of its own"
        )


def _check_finite(state: State) -> None:
    bad = [n for n, t in state.items() if t.dtype in _WEIGHTS and not t.isfinite().all()]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CheckpointError(
            f"the checkpoint holds NaN or infinite weights in {bad[0]}{more}, so its training "
            "diverged; give an earlier one"
        )
