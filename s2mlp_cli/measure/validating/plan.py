"""What a validation runs: the settings, and the images in their order with targets and inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.subset import spread
from s2mlp_cli.errors import DataError, UnavailableError
from s2mlp_cli.measure.validating.classifier import Classifier
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.shifts import registry


@dataclass(frozen=True)
class Settings:
    """How a validation runs.

    Attributes:
        preprocessing: how images become inputs; None is the model's own.
        resume: a file that keeps the progress; if it exists, the run continues from it.
        limit: validate on this many images, evenly over the classes, drawn by ``seed``.
        strict: fail at the first image that cannot be decoded.
        real: the ReaL labels of each image of the set.
        per_class: keep the score of each class in the result.
        keep_mistakes: keep thumbnails of the surest mistakes in the result.
    """

    preprocessing: Preprocessing | None = None
    shift: str = registry.DEFAULT
    device: str = "cpu"
    dtype: str = "fp32"
    batch_size: int = 64
    workers: int = 0
    compiled: bool = False
    channels_last: bool = False
    limit: int | None = None
    seed: int = 0
    strict: bool = False
    per_class: bool = False
    keep_mistakes: bool = False
    resume: Path | None = None
    real: Sequence[tuple[int, ...]] | None = None


@dataclass(frozen=True)
class Plan:
    """A validation with everything decided.

    Attributes:
        model: with weights, from wherever.
        positions: (rows,) of the images in their set.
        targets: (rows,) the right output for each.
    """

    model: Classifier
    images: ImageSet
    settings: Settings
    preprocessing: Preprocessing
    positions: IntArray
    targets: IntArray

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the images, by row."""
        return tuple(self.images.names[position] for position in self.positions)

    def chunks(self, pending: Iterable[int]) -> list[range]:
        """Return the batches with one of the ``pending`` rows.

        Batches are cut from the same order whatever the number of processes and wherever a run
        continues, so each image is always computed beside the same others.
        """
        size = self.settings.batch_size
        numbers = sorted({row // size for row in pending})
        return [range(n * size, min((n + 1) * size, len(self))) for n in numbers]

    def key(self) -> dict[str, Any]:
        """Return what two runs must share for one to continue the other, by names for people."""
        rows = "\n".join(f"{n}\0{t}" for n, t in zip(self.names, self.targets, strict=True))
        source, session = self.model.source, self.model.session
        other: dict[str, Any] = {}  # what decides the scores where no spec describes the model
        if session is not None:
            other = {"runtime": f"{session.runtime} {session.version}"}
        elif source is not None and source.kind == "python":
            other = {"code": source.sha256, "arguments": source.arguments}
        return {
            "checkpoint": self.model.facts.sha256,
            # corrupted copies of a set (ImageNet-C) use the same names
            "data": str(Path(self.images.path).absolute()),
            "weights": self.model.facts.taken,
            "model": self.model.described,
            **other,
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "choice of images": sha256(rows.encode("utf-8", "surrogateescape")).hexdigest()[:16],
            "shift": self.settings.shift,
            "device type": torch.device(self.settings.device).type,
            "dtype": self.settings.dtype,
            "batch size": self.settings.batch_size,
            "compilation": self.settings.compiled,
            "channels-last": self.settings.channels_last,
        }


def make_plan(model: Classifier, images: ImageSet, settings: Settings) -> Plan:
    """Decide which images are scored and how they are prepared.

    Raises:
        DataError: the set has no labels, or its classes are not the outputs of this model.
        UnavailableError: the model cannot run with these settings.
    """
    _check_runnable(model, settings)
    if images.labels is None:
        raise DataError(f"{images.path} has no labels; give a label file with --labels")
    try:
        targets = images.labels.targets(model.classes)
    except DataError as error:
        raise DataError(f"{images.path}: {error}") from error
    positions: IntArray = np.arange(len(images))
    if settings.limit is not None:
        positions = spread(targets, settings.limit, settings.seed)
    preprocessing = settings.preprocessing or model.preprocessing
    return Plan(model, images, settings, preprocessing, positions, targets[positions])


def _check_runnable(model: Classifier, settings: Settings) -> None:
    registry.get(settings.shift).check_available(torch.device(settings.device))
    if model.session is None:
        if model.spec is None and settings.shift != registry.DEFAULT:
            raise UnavailableError(
                f"the code of {model.name} chooses its own shift; leave out --shift"
            )
        return
    chosen = [
        option
        for option, name in _OPTIONS.items()
        if getattr(settings, name) != getattr(Settings, name)
    ]
    if chosen:
        raise UnavailableError(
            f"{model.facts.path} is an exported file and runs as it is; leave out "
            f"{', '.join(chosen)}"
        )
    if model.batch_size not in (None, settings.batch_size):
        raise UnavailableError(
            f"{model.facts.path} takes batches of {model.batch_size} only; use --batch-size "
            f"{model.batch_size}, or export it without --batch-size"
        )


# What is decided inside an exported file: option -> its name in the settings.
_OPTIONS = {
    "--shift": "shift",
    "--device": "device",
    "--dtype": "dtype",
    "--compile": "compiled",
    "--channels-last": "channels_last",
}
