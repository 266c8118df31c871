"""Top-1 and top-5 of a checkpoint on a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2mlp_cli.accuracy import wilson
from s2mlp_cli.checkpoints.loading import Checkpoint
from s2mlp_cli.data.fingerprint import fingerprint
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.loader import DecodedImages, batches
from s2mlp_cli.data.subset import spread
from s2mlp_cli.errors import DataError, UnavailableError
from s2mlp_cli.measure.validating.diagnosis import find_label_orders, published_accuracy, remarks
from s2mlp_cli.measure.validating.evaluate import Evaluator
from s2mlp_cli.measure.validating.loop import Loop, Progress, Watch
from s2mlp_cli.measure.validating.processes import Processes
from s2mlp_cli.measure.validating.score import Scored, expected_calibration_error, real_score
from s2mlp_cli.measure.validating.table import BROKEN, PENDING, ImageTable
from s2mlp_cli.records.predictions import Prediction
from s2mlp_cli.records.validate import (
    DataFacts,
    Failure,
    Preprocessing,
    Timing,
    ValidateResult,
)
from s2mlp_cli.shifts import registry

INTERRUPTED = Path("s2mlp-validate.partial")
"""Where Ctrl-C leaves the progress of a run that was not told where to keep it."""

MAX_BROKEN = 0.01
"""The share of broken images above which a result is no result."""


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
class Validation:
    """A finished validation.

    Attributes:
        result: what goes into the record.
        table: one row for each image of the run.
        names, targets: (rows,) their names and right classes.
    """

    result: ValidateResult
    table: ImageTable
    names: tuple[str, ...]
    targets: IntArray

    def predictions(self) -> Iterator[Prediction]:
        """Yield what the model said of each image, in the order of the run."""
        correct1 = self.table.top[:, 0] == self.targets
        correct5 = (self.table.top == self.targets[:, None]).any(axis=1)
        for row, name in enumerate(self.names):
            top1, top2, top3, top4, top5 = self.table.top[row].tolist()
            yield Prediction(
                name,
                int(self.targets[row]),
                top1,
                top2,
                top3,
                top4,
                top5,
                confidence=float(self.table.confidence[row]),
                loss=float(self.table.loss[row]),
                correct1=bool(correct1[row]),
                correct5=bool(correct5[row]),
                broken=bool(self.table.state[row] == BROKEN),
            )


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


def validate(
    checkpoint: Checkpoint,
    images: ImageSet,
    settings: Settings | None = None,
    on_batch: Callable[[Progress], None] = lambda _: None,
    on_broken: Callable[[str, str], None] = lambda _name, _reason: None,
    group: Processes | None = None,
) -> Validation | None:
    """Score ``checkpoint`` on ``images``.

    Args:
        checkpoint: of :func:`s2mlp_cli.checkpoints.loading.load_checkpoint`.
        images: of :func:`s2mlp_cli.data.detect.open_images`, with labels.
        settings: how; the defaults if None.
        on_batch: called with the progress of this process after each batch.
        on_broken: called with name and reason of each broken image.
        group: the processes that share the images.

    Returns:
        The validation on the first process, None on the others.

    Raises:
        S2MLPError: images, labels and classifier do not fit, or no image could be decoded.
    """
    settings, group = settings or Settings(), group or Processes()
    plan = make_plan(checkpoint, images, settings)
    table = _resumed(plan, settings.resume)
    resumed = int((table.state != PENDING).sum())
    group.wait()  # nobody may write progress before all have read it
    watch = _watch(plan, table, settings, group, on_batch, on_broken)
    loop = Loop(_evaluator(checkpoint, plan, settings), table, plan.targets, watch)
    try:
        loop.run(_batches(plan, table, settings, group))
    except KeyboardInterrupt:
        table.save(_progress_file(settings.resume or INTERRUPTED, group), plan.key)
        raise
    parts = group.gather((table, loop.seconds, loop.data_s, loop.images))
    if not group.is_first:
        return None
    for part, *_ in parts:
        table.merge(part)
    if settings.resume is not None:
        _finish_progress(table, plan, settings.resume)
    timing = _timing([part[1:] for part in parts])
    result = _result(checkpoint, plan, settings, table, timing, resumed, group)
    return Validation(result, table, plan.names, plan.targets)


def make_plan(checkpoint: Checkpoint, images: ImageSet, settings: Settings) -> Plan:
    """Decide which images are scored and how they are prepared.

    Raises:
        DataError: the classes of the data are no outputs of this model.
        UnavailableError: the shift cannot run on the device.
    """
    _check_shift(settings)
    preprocessing = (
        settings.preprocessing
        or checkpoint.preprocessing
        or Preprocessing(input_size=checkpoint.spec.input_size)
    )
    if images.labels is None:
        raise DataError(f"{images.path} has no labels; give a label file with --labels")
    targets = images.labels.targets(checkpoint.spec.classes)
    positions = np.arange(len(images))
    if settings.limit is not None:
        positions = spread(targets, settings.limit, settings.seed)
    plan = Plan(images, positions, targets[positions], preprocessing)
    return replace(plan, key=_key(checkpoint, plan, settings))


def _check_shift(settings: Settings) -> None:
    device = torch.device(settings.device)
    if settings.shift == "inplace" and device.type != "cpu":
        raise UnavailableError(
            "the overlapping in-place shift has no defined result on a GPU; use --device cpu"
        )
    reason = registry.get(settings.shift).unavailable(device)
    if reason is not None:
        raise UnavailableError(f"the shift {settings.shift} cannot run on {device}: {reason}")


def _key(checkpoint: Checkpoint, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return what has to be equal for progress to be gone on from, by names for people."""
    rows = "\n".join(f"{n}\0{t}" for n, t in zip(plan.names, plan.targets, strict=True))
    return {
        "checkpoint": checkpoint.facts.sha256,
        "weights": checkpoint.facts.taken,
        "model": checkpoint.spec.model_dump(mode="json"),
        "preprocessing": plan.preprocessing.model_dump(mode="json"),
        "images": sha256(rows.encode("utf-8", "surrogateescape")).hexdigest(),
        "shift": settings.shift,
        "device type": torch.device(settings.device).type,
        "dtype": settings.dtype,
        "batch size": settings.batch_size,
        "compilation": settings.compiled,
        "channels-last": settings.channels_last,
    }


def _resumed(plan: Plan, path: Path | None) -> ImageTable:
    """Return the table with every row that an earlier run finished, in whatever process."""
    table = ImageTable.empty(len(plan.positions))
    for part in _progress_files(path):
        table.merge(ImageTable.load(part, plan.key))
    return table


def _progress_file(path: Path, group: Processes) -> Path:
    """Return the file of this process: each writes its own, all of them are read."""
    return path if group.is_first else path.with_name(f"{path.name}.rank{group.rank}")


def _progress_files(path: Path | None) -> list[Path]:
    if path is None:
        return []
    own = [path] if path.exists() else []
    return own + sorted(path.parent.glob(f"{path.name}.rank*"))


def _finish_progress(table: ImageTable, plan: Plan, path: Path) -> None:
    table.save(path, plan.key)
    for part in path.parent.glob(f"{path.name}.rank*"):
        part.unlink()


def _watch(
    plan: Plan,
    table: ImageTable,
    settings: Settings,
    group: Processes,
    on_batch: Callable[[Progress], None],
    on_broken: Callable[[str, str], None],
) -> Watch:
    def broken(row: int, reason: str) -> None:
        name = plan.images.names[plan.positions[row]]
        if settings.strict:
            raise DataError(
                f"the image {name} is broken ({reason}); replace it, or leave out --strict"
            )
        on_broken(name, reason)

    if settings.resume is None:
        return Watch(on_batch, broken)
    path = _progress_file(settings.resume, group)
    return Watch(on_batch, broken, lambda: table.save(path, plan.key))


def _evaluator(checkpoint: Checkpoint, plan: Plan, settings: Settings) -> Evaluator:
    device = torch.device(settings.device)
    network = checkpoint.build(settings.shift, device)
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if settings.compiled:
        network.compile()
    return Evaluator(network, plan.preprocessing, device, settings.dtype, settings.channels_last)


def _batches(plan: Plan, table: ImageTable, settings: Settings, group: Processes) -> Any:
    """Yield this process's share of the batches that are not finished.

    Batches are cut from the same order whatever the number of processes and wherever a run
    resumes: each batch is computed as in an unbroken run of one process, bit by bit.
    """
    size = settings.batch_size
    starts = range(0, len(table), size)
    chunks = [range(start, min(start + size, len(table))) for start in starts]
    pending = [rows for rows in chunks if (table.state[rows.start : rows.stop] == PENDING).any()]
    decoded = DecodedImages(plan.images.source, plan.positions, plan.preprocessing)
    on_cuda = torch.device(settings.device).type == "cuda"
    return batches(decoded, pending[group.rank :: group.count], settings.workers, on_cuda)


def _timing(parts: Sequence[tuple[float, float, int]]) -> Timing:
    """Return the time of the slowest process, and the images of all."""
    seconds, data_s, _ = max(parts)
    images = sum(part[2] for part in parts)
    return Timing(
        seconds=seconds,
        data_s=data_s,
        model_s=seconds - data_s,
        images=images,
        images_per_s=images / seconds if seconds else 0.0,
    )


def _result(
    checkpoint: Checkpoint,
    plan: Plan,
    settings: Settings,
    table: ImageTable,
    timing: Timing,
    resumed: int,
    group: Processes,
) -> ValidateResult:
    scored = Scored(table, plan.targets)
    if not len(scored):
        raise DataError(
            f"none of the {len(table)} images could be decoded (the first: {table.reasons[0]}); "
            "check the data"
        )
    images, names = len(scored), _class_names(plan, checkpoint.spec.classes)
    correct1, correct5 = int(scored.correct1.sum()), int(scored.correct5.sum())
    loss, loss_interval = scored.loss()
    calibration = scored.calibration()
    real = [settings.real[position] for position in plan.positions] if settings.real else None
    result = ValidateResult(
        model=checkpoint.spec.name,
        spec=checkpoint.spec.model_dump(mode="json"),
        ckpt=checkpoint.facts,
        data=_data_facts(plan, settings, table),
        preprocessing=plan.preprocessing,
        shift=settings.shift,
        device=settings.device,
        dtype=settings.dtype,
        batch_size=settings.batch_size,
        workers=settings.workers,
        processes=group.count,
        compiled=settings.compiled,
        channels_last=settings.channels_last,
        images=images,
        correct1=correct1,
        correct5=correct5,
        top1=correct1 / images,
        top1_interval=wilson(correct1, images),
        top5=correct5 / images,
        top5_interval=wilson(correct5, images),
        loss=loss,
        loss_interval=loss_interval,
        ece=expected_calibration_error(calibration),
        calibration=calibration,
        nonfinite=int((scored.top[:, 0] < 0).sum()),
        resumed_images=resumed,
        images_per_s=timing.images_per_s,
        timing=timing,
        failures=_failures(plan, table),
        real=real_score(table, real) if real else None,
        per_class=scored.per_class(names) if settings.per_class else (),
        confusions=scored.confusions(names),
        label_orders=find_label_orders(scored, checkpoint.spec.classes),
        published=published_accuracy(checkpoint.spec),
    )
    return result.model_copy(update={"remarks": remarks(result)})


def _data_facts(plan: Plan, settings: Settings, table: ImageTable) -> DataFacts:
    labels = plan.images.labels
    assert labels is not None
    return DataFacts(
        path=plan.images.path,
        form=plan.images.form,
        labels=labels.origin,
        available=len(plan.images),
        images=len(plan.positions),
        classes=len(np.unique(plan.targets)),
        fingerprint=fingerprint(plan.names, table.size.tolist(), plan.targets),
        limit=settings.limit,
        seed=settings.seed if settings.limit is not None else None,
    )


def _class_names(plan: Plan, outputs: int) -> dict[int, str]:
    """Return output -> the name that the data set gives to its class; empty if it has none."""
    labels = plan.images.labels
    if labels is None or labels.classes is None:
        return {}
    targets = labels.targets(outputs)
    first = {int(value): i for i, value in reversed(list(enumerate(labels.values)))}
    return {int(targets[i]): labels.classes[value] for value, i in first.items()}


def _failures(plan: Plan, table: ImageTable) -> tuple[Failure, ...]:
    return tuple(
        Failure(name=plan.images.names[plan.positions[row]], reason=reason)
        for row, reason in sorted(table.reasons.items())
    )


def check_broken(result: ValidateResult) -> None:
    """Hold that hardly any image was broken.

    Raises:
        DataError: more than 1 % were.
    """
    broken, asked = len(result.failures), result.data.images
    if broken > MAX_BROKEN * asked:
        raise DataError(
            f"{broken} of {asked} images are broken, more than {MAX_BROKEN:.0%} (the first: "
            f"{result.failures[0].name}); restore them, since this accuracy is not that of the set"
        )
