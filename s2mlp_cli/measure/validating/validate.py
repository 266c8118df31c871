"""Top-1 and top-5 of a checkpoint on a set of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from s2mlp_cli.checkpoints.loading import Checkpoint
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.loader import Batch, DecodedImages, batches, workers_watched
from s2mlp_cli.errors import DataError, WriteError
from s2mlp_cli.measure.source import GivenModel
from s2mlp_cli.measure.validating.classifier import Classifier, classifier
from s2mlp_cli.measure.validating.evaluate import Evaluator, Scores
from s2mlp_cli.measure.validating.plan import Plan, Settings, make_plan
from s2mlp_cli.measure.validating.processes import Processes
from s2mlp_cli.measure.validating.result import make_result
from s2mlp_cli.measure.validating.table import BROKEN, PENDING, SCORED, ImageTable, Progress
from s2mlp_cli.records.predictions import Prediction
from s2mlp_cli.records.validate import ValidateResult


class Listener(Protocol):
    """Hears how a run goes on; the methods here do nothing."""

    def scored(self, images: int, correct1: int) -> None:
        """After each batch: the images of this process so far, and how many are right."""
        return

    def broken(self, name: str, reason: str) -> None:
        """An image cannot be decoded."""
        return

    def kept(self, path: Path) -> None:
        """The run ends early, and another can resume from this file."""
        return

    def unsaved(self, error: WriteError) -> None:
        """Progress cannot be saved; the run goes on."""
        return


class Silent(Listener):
    """Hears nothing."""


@dataclass(frozen=True)
class Validation:
    """A finished validation.

    Attributes:
        result: what goes into the record.
        table: one row for each image of the run.
        unsaved: why the file of the progress is not complete, or None.
    """

    result: ValidateResult
    plan: Plan
    table: ImageTable
    unsaved: WriteError | None = None

    def predictions(self) -> Iterator[Prediction]:
        """Yield what the model said of each image, in the order of the run."""
        table, targets = self.table, self.plan.targets
        hits = table.top == targets[:, None]
        for row, name in enumerate(self.plan.names):
            top1, top2, top3, top4, top5 = table.top[row].tolist()
            yield Prediction(
                name,
                int(targets[row]),
                top1,
                top2,
                top3,
                top4,
                top5,
                confidence=float(table.confidence[row]),
                loss=float(table.loss[row]),
                correct1=bool(hits[row, 0]),
                correct5=bool(hits[row].any()),
                broken=bool(table.state[row] == BROKEN),
            )


def validate(
    model: Checkpoint | GivenModel | Classifier,
    images: ImageSet,
    settings: Settings | None = None,
    listener: Listener | None = None,
    group: Processes | None = None,
) -> Validation | None:
    """Score a model on ``images``: the validation on the first process, else None.

    Args:
        model: from :func:`s2mlp_cli.checkpoints.loading.load_checkpoint` or
            :func:`s2mlp_cli.measure.source.open_model`, with weights.
        images: from :func:`s2mlp_cli.data.detect.open_images`, with labels.
        settings: how; the defaults if None.
        listener: hears how the run goes on.
        group: the processes that share the images.

    Raises:
        S2MLPError: images, labels and classifier do not fit, or no image could be decoded.
    """
    settings, listener, group = settings or Settings(), listener or Silent(), group or Processes()
    chosen = model if isinstance(model, Classifier) else classifier(model)
    plan = make_plan(chosen, images, settings)
    progress = Progress(settings.resume, plan.key(), group.rank)
    table = progress.restore(len(plan))
    resumed = int((table.state != PENDING).sum())
    group.wait()  # nobody may write progress before all have read it
    try:
        timing = _score_images(plan, table, progress, listener, group)
        parts = group.gather((table, timing))
        if group.rank != 0:
            return None
        for part, _ in parts[1:]:  # the first is this process's own
            table.merge(part)
        progress.finish(table)
        result = make_result(plan, table, resumed, [timing for _, timing in parts])
        return Validation(result, plan, table, progress.failure)
    except BaseException:  # Ctrl-C, lost data, a dead worker: nothing that was scored is lost
        if (table.state == SCORED).any():
            try:
                listener.kept(progress.keep(table))
            except WriteError as error:
                listener.unsaved(error)
        raise


def _score_images(
    plan: Plan, table: ImageTable, progress: Progress, listener: Listener, group: Processes
) -> tuple[float, float, int]:
    """Fill in this process's share of the rows; return seconds, of which for data, and images."""
    evaluate = _evaluator(plan)
    decoded = DecodedImages(plan.images.source, plan.positions, plan.preprocessing)
    chunks = plan.chunks(np.flatnonzero(table.state == PENDING).tolist())
    chunks = chunks[group.rank :: group.count]
    on_cuda = evaluate.device.type == "cuda"
    source = batches(decoded, chunks, plan.settings.workers, on_cuda)
    images, correct1, data_s, failure = 0, 0, 0.0, None
    began = time.perf_counter()
    with workers_watched():
        for batch, scores, waited in scored_batches(evaluate, plan.targets, source):
            _check_batch(plan, batch, listener)
            data_s += waited
            rows = batch.rows.numpy()
            table.write(batch, scores)
            images += len(rows)
            correct1 += int((table.top[rows, 0] == plan.targets[rows]).sum())
            listener.scored(images, correct1)
            progress.save_when_due(table)
            if progress.failure is not None and failure is None:
                listener.unsaved(progress.failure)
            failure = progress.failure
    return time.perf_counter() - began, data_s, images


def scored_batches(
    evaluate: Callable[[Tensor, Tensor], Scores], targets: IntArray, source: Iterable[Batch]
) -> Iterator[tuple[Batch, Scores, float]]:
    """Yield each batch, its scores, and the seconds waited since the batch before.

    A batch is yielded once the next one was handed over: while the device works on one, the next
    is fetched.

    Args:
        evaluate: (pixels, targets) to scores.
        targets: (rows,) the right class of each row.
        source: the batches.
    """
    before: tuple[Batch, Scores] | None = None
    batches_left, waited = iter(source), 0.0
    while True:
        began = time.perf_counter()
        batch = next(batches_left, None)
        waited += time.perf_counter() - began
        if batch is not None:
            right = torch.from_numpy(targets[batch.rows.numpy()])
            after = batch, evaluate(batch.images, right)
        if before is not None:
            yield *before, waited
            waited = 0.0
        if batch is None:
            return
        before = after


def _check_batch(plan: Plan, batch: Batch, listener: Listener) -> None:
    """Tell the broken images.

    Raises:
        DataError: the images are not where they were, or one is broken and the run is strict.
    """
    if batch.lost:
        raise DataError(f"{batch.lost} disappeared during the run; restore it, and run again")
    for row, reason in zip(batch.rows.tolist(), batch.broken, strict=True):
        if reason and plan.settings.strict:
            raise DataError(
                f"the image {plan.names[row]} cannot be decoded ({reason}); replace it, "
                "or leave out --strict"
            )
        if reason:
            listener.broken(plan.names[row], reason)


def _evaluator(plan: Plan) -> Evaluator:
    settings, device = plan.settings, torch.device(plan.settings.device)
    network = plan.model.build(settings.shift, device)
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if settings.compiled:
        network.compile()
    return Evaluator(network, plan.preprocessing, device, settings.dtype, settings.channels_last)
