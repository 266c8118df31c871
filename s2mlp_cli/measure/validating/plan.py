"""What a validation is asked for, and which images it scores in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
        preprocessing: how images become inputs; None takes the checkpoint's, or the default.
        resume: a file that keeps the progress, and is gone on from if it exists.
        limit: validate on so many images, evenly over classes, drawn by ``seed``.
        strict: fail at the first broken image.
        real: for each image of the set its ReaL labels.
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


@dataclass(frozen=True)
class Plan:
    """Which images are scored, in which order and how prepared.

    Attributes:
        positions: (rows,) in the data set.
        targets: (rows,) the right output for each.
    """

    images: ImageSet
    positions: IntArray
    targets: IntArray
    preprocessing: Preprocessing
    key: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the images, by row."""
        return tuple(self.images.names[position] for position in self.positions)


def make_plan(checkpoint: Checkpoint, images: ImageSet, settings: Settings) -> Plan:
    """Decide which images are scored and how they are prepared.

    Raises:
        DataError: the classes of the data are no outputs of this model.
        UnavailableError: the shift cannot run on the device.
    """
    _check_shift(settings)
    preprocessing = (
        settings.preprocessing or checkpoint.preprocessing or default_preprocessing(checkpoint.spec)
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
    plan = Plan(images, positions, targets[positions], preprocessing)
    return replace(plan, key=_key(checkpoint, plan, settings))


def _check_shift(settings: Settings) -> None:
    device = torch.device(settings.device)
    reason = registry.get(settings.shift).unavailable(device)
    if reason is not None:
        raise UnavailableError(f"the shift {settings.shift} cannot run on {device}: {reason}")


def _key(checkpoint: Checkpoint, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return what has to be equal for progress to be gone on from, by names for people."""
    rows = "\n".join(f"{n}\0{t}" for n, t in zip(plan.names, plan.targets, strict=True))
    return {
        "checkpoint": checkpoint.facts.sha256,
        # corrupted copies of a set (ImageNet-C) bear the same names
        "data": str(Path(plan.images.path).absolute()),
        "weights": checkpoint.facts.taken,
        "model": checkpoint.spec.model_dump(mode="json"),
        "preprocessing": plan.preprocessing.model_dump(mode="json"),
        "choice of images": sha256(rows.encode("utf-8", "surrogateescape")).hexdigest()[:16],
        "shift": settings.shift,
        "device type": torch.device(settings.device).type,
        "dtype": settings.dtype,
        "batch size": settings.batch_size,
        "compilation": settings.compiled,
        "channels-last": settings.channels_last,
    }
