"""Top-1 and top-5 of a checkpoint on a set of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from s2mlp_cli.checkpoints.loading import Checkpoint
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.loader import Batch, DecodedImages, batches
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

# Told after each batch: the images of this process so far, and how many are right.
OnBatch = Callable[[int, int], None]
# Told at once, in a sentence: an image is broken, progress is saved or cannot be.
OnRemark = Callable[[str], None]


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
    on_batch: OnBatch = lambda images, correct1: None,
    on_remark: OnRemark = lambda sentence: None,
    group: Processes | None = None,
) -> Validation | None:
    """Score a model on ``images``: the validation on the first process, else None.

    Args:
        model: from :func:`s2mlp_cli.checkpoints.loading.load_checkpoint` or
            :func:`s2mlp_cli.measure.source.open_model`, with weights.
        images: from :func:`s2mlp_cli.data.detect.open_images`, with labels.
        settings: how; the defaults if None.
        on_batch: told after each batch how many images were scored, and how many are right.
        on_remark: told in sentences which image is broken, and where progress is saved.
        group: the processes that share the images.

    Raises:
        S2MLPError: images, labels and classifier do not fit, or no image could be decoded.
    """
    settings, group = settings or Settings(), group or Processes()
    with group.errors_shown_once():  # after it, all have read the progress, and may write it
        chosen = model if isinstance(model, Classifier) else classifier(model)
        plan = make_plan(chosen, images, settings)
        progress = Progress(settings.resume, plan.key(), group.rank)
        table = progress.restore(len(plan))
    resumed = int((table.state != PENDING).sum())
    try:
        timing = _score_images(plan, table, progress, on_batch, on_remark, group)
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
                on_remark(f"progress is saved; continue with --resume {progress.keep(table)}")
            except WriteError as error:
                on_remark(f"progress is not saved: {error}")
        raise


def _score_images(
    plan: Plan,
    table: ImageTable,
    progress: Progress,
    on_batch: OnBatch,
    on_remark: OnRemark,
    group: Processes,
) -> tuple[float, float, int]:
    """Fill in this process's share of the rows; return seconds, of which for data, and images."""
    settings, device = plan.settings, torch.device(plan.settings.device)
    network = plan.model.build(settings.shift, device)
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if settings.compiled:
        network.compile()
    evaluate = Evaluator(
        network, plan.preprocessing, device, settings.dtype, settings.channels_last
    )
    decoded = DecodedImages(plan.images.source, plan.positions, plan.preprocessing)
    chunks = plan.chunks(np.flatnonzero(table.state == PENDING).tolist())
    chunks = chunks[group.rank :: group.count]
    source = batches(decoded, chunks, settings.workers, device.type == "cuda")
    images, correct1, data_s = 0, 0, 0.0
    began = time.perf_counter()
    for batch, scores, waited in scored_batches(evaluate, plan.targets, source):
        for broken in _broken(plan, batch):
            on_remark(f"cannot decode {broken}")
        data_s += waited
        rows = batch.rows.numpy()
        table.write(batch, scores)
        images += len(rows)
        correct1 += int((table.top[rows, 0] == plan.targets[rows]).sum())
        on_batch(images, correct1)
        progress.save_when_due(table, on_remark)
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


def _broken(plan: Plan, batch: Batch) -> list[str]:
    """Return the images of a batch that cannot be decoded, each with the reason."""
    if batch.lost:
        raise DataError(f"{batch.lost} disappeared during the run; restore it, and run again")
    rows = zip(batch.rows.tolist(), batch.broken, strict=True)
    found = [(plan.names[row], reason) for row, reason in rows if reason]
    if found and plan.settings.strict:
        name, reason = found[0]
        raise DataError(
            f"the image {name} cannot be decoded ({reason}); replace it, or leave out --strict"
        )
    return [f"{name}: {reason}" for name, reason in found]
