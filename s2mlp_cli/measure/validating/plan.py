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

from s2mlp_cli.checkpoints.loading import Checkpoint
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.subset import spread
from s2mlp_cli.errors import DataError, UnavailableError
from s2mlp_cli.models.preprocessing import default_preprocessing
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.shifts import registry


@dataclass(frozen=True)
class Settings:
    """How a validation runs.

    Attributes:
        preprocessing: how images become inputs; None means :func:`preprocessing_for`.
        resume: a file that keeps the progress; if it exists, the run continues from it.
        limit: validate on this many images, evenly over the classes, drawn by ``seed``.
        strict: fail at the first broken image.
        real: the ReaL labels of each image of the set.
        per_class: keep the score of each class in the result.
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
    resume: Path | None = None
    real: Sequence[tuple[int, ...]] | None = None


def preprocessing_for(checkpoint: Checkpoint, **chosen: Any) -> Preprocessing:
    """Return how images are prepared: as chosen, else by the checkpoint, else by its model."""
    known = checkpoint.preprocessing or default_preprocessing(checkpoint.spec)
    return Preprocessing.model_validate({**known.model_dump(), **chosen})


@dataclass(frozen=True)
class Plan:
    """A validation with everything decided.

    Attributes:
        positions: (rows,) of the images in their set.
        targets: (rows,) the right output for each.
    """

    checkpoint: Checkpoint
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
        """Return the batches that hold one of the ``pending`` rows.

        Batches are cut from the same order whatever the number of processes and wherever a run
        continues, so each image is always computed beside the same others.
        """
        size = self.settings.batch_size
        numbers = sorted({row // size for row in pending})
        return [range(n * size, min((n + 1) * size, len(self))) for n in numbers]

    def key(self) -> dict[str, Any]:
        """Return what two runs must share for one to continue the other, by names for people."""
        rows = "\n".join(f"{n}\0{t}" for n, t in zip(self.names, self.targets, strict=True))
        return {
            "checkpoint": self.checkpoint.facts.sha256,
            # corrupted copies of a set (ImageNet-C) use the same names
            "data": str(Path(self.images.path).absolute()),
            "weights": self.checkpoint.facts.taken,
            "model": self.checkpoint.spec.model_dump(mode="json"),
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "choice of images": sha256(rows.encode("utf-8", "surrogateescape")).hexdigest()[:16],
            "shift": self.settings.shift,
            "device type": torch.device(self.settings.device).type,
            "dtype": self.settings.dtype,
            "batch size": self.settings.batch_size,
            "compilation": self.settings.compiled,
            "channels-last": self.settings.channels_last,
        }


def make_plan(checkpoint: Checkpoint, images: ImageSet, settings: Settings) -> Plan:
    """Decide which images are scored and how they are prepared.

    Raises:
        DataError: the set has no labels, or its classes are not the outputs of this model.
        UnavailableError: the shift cannot run on the device.
    """
    reason = registry.get(settings.shift).unavailable(torch.device(settings.device))
    if reason is not None:
        raise UnavailableError(
            f"the shift {settings.shift} cannot run on {settings.device}: {reason}"
        )
    if images.labels is None:
        raise DataError(f"{images.path} has no labels; give a label file with --labels")
    try:
        targets = images.labels.targets(checkpoint.spec.classes)
    except DataError as error:
        raise DataError(f"{images.path}: {error}") from error
    positions: IntArray = np.arange(len(images))
    if settings.limit is not None:
        positions = spread(targets, settings.limit, settings.seed)
    preprocessing = settings.preprocessing or preprocessing_for(checkpoint)
    return Plan(checkpoint, images, settings, preprocessing, positions, targets[positions])
