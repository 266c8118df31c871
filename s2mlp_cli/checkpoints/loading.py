"""From a checkpoint file to a spec and the state dict of its model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from s2mlp_cli.checkpoints.compare import check_fit, fitting_model
from s2mlp_cli.checkpoints.inference import Inferred, infer
from s2mlp_cli.checkpoints.layouts import OURS, Layout, recognise
from s2mlp_cli.checkpoints.reading import CheckpointFile, read_checkpoint
from s2mlp_cli.checkpoints.wrappers import State, take_weights
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.models import build_model
from s2mlp_cli.records.validate import CheckpointFacts, Preprocessing
from s2mlp_cli.spec import ModelSpec
from s2mlp_cli.spec.families import FAMILIES

SPEC_KEY = "s2mlp.spec"
"""The metadata key of a safetensors file under which the spec stands, as JSON."""
PREPROCESSING_KEY = "s2mlp.preprocessing"
"""The same for how images are to be prepared."""


_NO_WEIGHTS = frozenset({torch.int8, torch.uint8, torch.complex64, torch.complex128})
"""Copying these into float32 parameters would pass in silence and give another model."""


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
) -> Checkpoint:
    """Read a checkpoint, recognise its layout and model, and check that both fit.

    Args:
        path: the file.
        spec: the model if the caller knows it; else metadata or tensors have to tell.
        averaged: take the averaged (EMA) weights.
        name: what the record calls the file; its path if None.

    Raises:
        CheckpointError: it cannot be read, is refused, fits no model, or holds NaN.
    """
    file = read_checkpoint(path)
    taken = take_weights(file.content, averaged)
    layout = recognise(taken.state)
    state = layout.rename(taken.state) if layout else taken.state
    known = spec or spec_in_metadata(file)
    inferred = infer(state, layout) if known is None and layout else None
    chosen = known or (inferred.spec if inferred else fitting_model(state))
    check_fit(state, chosen)
    _check_finite(state)
    facts = _facts(file, name or str(path), taken.description, layout, chosen, inferred)
    return Checkpoint(chosen, state, facts, preprocessing_in_metadata(file))


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
            f"the spec in the metadata of {file.path} is not valid ({type(error).__name__}); name "
            "the model with --model"
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
            f"{PREPROCESSING_KEY} in the metadata of {file.path} is not valid; convert the "
            "checkpoint again"
        ) from error


def _facts(
    file: CheckpointFile,
    name: str,
    taken: str,
    layout: Layout | None,
    spec: ModelSpec,
    inferred: Inferred | None,
) -> CheckpointFacts:
    return CheckpointFacts(
        path=name,
        sha256=file.sha256,
        bytes=file.bytes,
        form=file.form,
        taken=taken,
        layout=(layout or OURS).name if layout else spec.name,
        nearest=inferred.nearest if inferred else None,
        stated=inferred.stated if inferred else (),
    )


def _check_finite(state: State) -> None:
    odd = [n for n, t in state.items() if t.layout != torch.strided or t.dtype in _NO_WEIGHTS]
    if odd:
        kind = state[odd[0]]
        raise CheckpointError(
            f"{odd[0]} is {kind.dtype} ({kind.layout}) in the checkpoint, no plain floating-point "
            "weights; save the model before it is quantised or made sparse"
        )
    bad = [n for n, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CheckpointError(
            f"the checkpoint holds NaN or infinite weights in {bad[0]}{more}, so its training "
            "diverged; give an earlier one"
        )
