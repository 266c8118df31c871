"""Top-1 and top-5 of a checkpoint on a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from s2mlp_cli.checkpoints.loading import Checkpoint
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.loader import Batch, DecodedImages, batches, workers_watched
from s2mlp_cli.errors import DataError
from s2mlp_cli.measure.validating.evaluate import Evaluator
from s2mlp_cli.measure.validating.loop import Loop, Progress, Watch
from s2mlp_cli.measure.validating.plan import Plan, Settings, make_plan
from s2mlp_cli.measure.validating.processes import Processes
from s2mlp_cli.measure.validating.result import make_result, timing_of
from s2mlp_cli.measure.validating.resuming import (
    INTERRUPTED,
    finish,
    progress_file,
    resumed_table,
)
from s2mlp_cli.measure.validating.table import BROKEN, PENDING, SCORED, ImageTable
from s2mlp_cli.records.predictions import Prediction
from s2mlp_cli.records.validate import ValidateResult


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


def validate(
    checkpoint: Checkpoint,
    images: ImageSet,
    settings: Settings | None = None,
    on_batch: Callable[[Progress], None] = lambda _: None,
    on_broken: Callable[[str, str], None] = lambda _name, _reason: None,
    on_kept: Callable[[Path], None] = lambda _: None,
    group: Processes | None = None,
) -> Validation | None:
    """Score ``checkpoint`` on ``images``: the validation on the first process, else None.

    Args:
        checkpoint: of :func:`s2mlp_cli.checkpoints.loading.load_checkpoint`.
        images: of :func:`s2mlp_cli.data.detect.open_images`, with labels.
        settings: how; the defaults if None.
        on_batch: called with the progress of this process after each batch.
        on_broken: called with name and reason of each broken image.
        on_kept: called with the file of the progress if something ends the run early.
        group: the processes that share the images.

    Raises:
        S2MLPError: images, labels and classifier do not fit, or no image could be decoded.
    """
    settings, group = settings or Settings(), group or Processes()
    plan = make_plan(checkpoint, images, settings)
    table = resumed_table(plan, settings.resume)
    resumed = int((table.state != PENDING).sum())
    group.wait()  # nobody may write progress before all have read it
    watch = _watch(plan, table, settings, group, on_batch, on_broken)
    loop = Loop(_evaluator(checkpoint, plan, settings), table, plan.targets, watch)
    with _keeping(table, plan, settings, group, on_kept):
        with workers_watched():
            loop.run(_batches(plan, table, settings, group))
        parts = group.gather((table, loop.seconds, loop.data_s, loop.images))
        if not group.is_first:
            return None
        for part, *_ in parts:
            table.merge(part)
        if settings.resume is not None:
            finish(table, plan, settings.resume)
        timing = timing_of([part[1:] for part in parts])
        result = make_result(checkpoint, plan, settings, table, timing, resumed, group.count)
    return Validation(result, table, plan.names, plan.targets)


@contextmanager
def _keeping(
    table: ImageTable,
    plan: Plan,
    settings: Settings,
    group: Processes,
    on_kept: Callable[[Path], None],
) -> Iterator[None]:
    """Save what was measured, whatever ends the run early: Ctrl-C, lost data, a dead worker."""
    try:
        yield
    except BaseException:
        if (table.state == SCORED).any():
            path = settings.resume or INTERRUPTED
            table.save(progress_file(path, group), plan.key)
            on_kept(path)
        raise


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
            raise _too_strict(plan, row, reason)
        on_broken(name, reason)

    if settings.resume is None:
        return Watch(on_batch, broken)
    path = progress_file(settings.resume, group)
    return Watch(on_batch, broken, lambda: table.save(path, plan.key))


def _too_strict(plan: Plan, row: int, reason: str) -> DataError:
    name = plan.images.names[plan.positions[row]]
    return DataError(f"the image {name} is broken ({reason}); replace it, or leave out --strict")


def _evaluator(checkpoint: Checkpoint, plan: Plan, settings: Settings) -> Evaluator:
    device = torch.device(settings.device)
    network = checkpoint.build(settings.shift, device)
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if settings.compiled:
        network.compile()
    return Evaluator(network, plan.preprocessing, device, settings.dtype, settings.channels_last)


def _batches(
    plan: Plan, table: ImageTable, settings: Settings, group: Processes
) -> Iterator[Batch]:
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
