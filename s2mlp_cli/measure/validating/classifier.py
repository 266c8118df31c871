"""What a validation scores: a checkpoint, Python code with weights, or an exported file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2mlp_cli.checkpoints.loading import (
    Checkpoint,
    preprocessing_in_metadata,
    spec_in_metadata,
)
from s2mlp_cli.errors import CheckpointError, ExportError
from s2mlp_cli.measure.source import CheckpointModel, ExportedModel, GivenModel, PythonModel
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.source import ModelSource
from s2mlp_cli.records.validate import CheckpointFacts
from s2mlp_cli.runtimes.sessions import Session, open_session
from s2mlp_cli.specs import ModelSpec

# (implementation of the shift, device) -> a module from images of B,C,H,W to logits of B,classes.
Build = Callable[[str, torch.device], nn.Module]


@dataclass(frozen=True)
class Classifier:
    """A model with weights, ready to be validated.

    Attributes:
        name: what the record calls it.
        classes: its outputs.
        facts: of the file of its weights.
        preprocessing: how its images are prepared, unless something else is chosen.
        assumes: what does not tell how images are prepared, so that it is assumed.
        spec: None where only code or a file describes the model.
        source: where it came from, if it was opened as a model.
        batch_size: fixed in an exported file; None takes any.
        session: of an exported file.
    """

    name: str
    classes: int
    facts: CheckpointFacts
    preprocessing: Preprocessing
    build: Build
    assumes: str | None = None
    spec: ModelSpec | None = None
    source: ModelSource | None = None
    batch_size: int | None = None
    session: Session | None = field(default=None, compare=False)

    @property
    def described(self) -> dict[str, Any]:
        """The spec as data, or what is known without one."""
        if self.spec is None:
            return {"classes": self.classes}
        return self.spec.model_dump(mode="json")


def classifier(model: Checkpoint | GivenModel, threads: int | None = None) -> Classifier:
    """Make ready what a caller has.

    Args:
        model: of :func:`s2mlp_cli.checkpoints.loading.load_checkpoint` or
            :func:`s2mlp_cli.measure.source.open_model`.
        threads: of an exported file's runtime; as many as torch uses if None.

    Raises:
        S2MLPError: it has no weights, or does not classify RGB images.
    """
    if isinstance(model, CheckpointModel):
        return replace(classifier(model.checkpoint), source=model.source)
    if isinstance(model, Checkpoint):
        spec, facts = model.spec, model.facts
        return Classifier(spec.name, spec.classes, facts, model.inputs, model.build, spec=spec)
    if model.in_channels != 3:
        raise CheckpointError(
            f"{model.name} takes {model.in_channels} channels; a classifier of RGB images takes "
            "B,3,H,W"
        )
    if isinstance(model, ExportedModel):
        return _of_file(model, threads or torch.get_num_threads())
    if isinstance(model, PythonModel) and model.source.weights is not None:
        return _of_code(model)
    raise CheckpointError(f"{model.name} has random weights; give a checkpoint with --ckpt FILE")


def _of_code(model: PythonModel) -> Classifier:
    weights = Path(model.source.weights or "")
    with torch.inference_mode(), model.running():
        logits = model.build()(torch.zeros(1, 3, *model.input_size))
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise CheckpointError(
            f"{model.name} does not return logits of B,classes; only a classifier can be validated"
        )
    return Classifier(
        name=model.name,
        classes=logits.shape[1],
        facts=CheckpointFacts(
            path=str(weights),
            sha256=model.source.weights_sha256 or "",
            bytes=weights.stat().st_size,
            form="weights of Python code",
            taken="all tensors of the model",
            layout=model.name,
        ),
        preprocessing=Preprocessing(input_size=model.input_size),
        build=lambda shift, device: model.build(None, device),
        assumes="Python code",
        source=model.source,
    )


def _of_file(model: ExportedModel, threads: int) -> Classifier:
    model.require_size()
    path = Path(model.source.path or "")
    session = open_session(path, threads=threads)
    facts, network = session.facts, _InRuntime(session)
    try:
        spec = spec_in_metadata(facts.metadata)
        known = preprocessing_in_metadata(facts.metadata)
    except CheckpointError as error:
        raise ExportError(f"{path}: {str(error).partition(';')[0]}; export it again") from error
    return Classifier(
        name=spec.name if spec else model.name,
        classes=facts.classes or network(torch.zeros(1, 3, *model.input_size)).shape[1],
        facts=CheckpointFacts(
            path=str(path),
            sha256=model.source.sha256 or "",
            bytes=path.stat().st_size,
            form="ExportedProgram" if path.suffix == ".pt2" else "ONNX",
            taken=facts.precision,
            layout=spec.name if spec else path.suffix.removeprefix("."),
        ),
        # A file that fixes its size knows it best.
        preprocessing=(known or Preprocessing()).model_copy(
            update={"input_size": model.input_size}
        ),
        build=lambda shift, device: network,
        assumes=None if known else "the file",
        spec=spec,
        source=model.source,
        batch_size=facts.batch_size,
        session=session,
    )


class _InRuntime(nn.Module):
    """An exported file as a module."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.session.run(images.contiguous().numpy()))
