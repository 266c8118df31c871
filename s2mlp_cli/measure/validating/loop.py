"""The loop of a validation: batches in, rows of the table out, progress saved on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.loader import Batch
from s2mlp_cli.errors import DataError
from s2mlp_cli.measure.validating.evaluate import Scores
from s2mlp_cli.measure.validating.table import BROKEN, SCORED, ImageTable

# Saving progress may take this share of the time: cheap saves come often, dear ones seldom.
_SAVING_SHARE = 0.02


@dataclass(frozen=True)
class Progress:
    """How far a run is, for whoever shows it."""

    images: int
    correct1: int


@dataclass
class Watch:
    """What others want to know while the loop runs; nothing by default.

    Attributes:
        on_batch: called after each batch with the images of this run so far.
        on_broken: called with the row and the reason of each broken image; may raise.
        save: writes the table.
    """

    on_batch: Callable[[Progress], None] = lambda _: None
    on_broken: Callable[[int, str], None] = lambda _row, _reason: None
    save: Callable[[], None] | None = None


@dataclass
class Loop:
    """Runs batches through an evaluator and writes their rows.

    While the device works on one batch the next is fetched: a batch's result is read only after
    the following one was handed over.

    Attributes:
        evaluator: (pixels, targets) to scores.
        table: one row for each image of the run.
        targets: (rows,) the right class of each row.
        clock: in seconds.
        seconds, data_s: time of the whole loop, and of waiting for batches.
        images: how many passed.
    """

    evaluator: Callable[[Tensor, Tensor], Scores]
    table: ImageTable
    targets: IntArray
    watch: Watch = field(default_factory=Watch)
    clock: Callable[[], float] = time.perf_counter
    seconds: float = 0.0
    data_s: float = 0.0
    images: int = 0
    correct1: int = 0
    _save_after: float = 0.0

    def run(self, batches: Iterable[Batch]) -> None:
        """Score all ``batches``.

        Raises:
            DataError: the images have gone from where they were.
        """
        started = self.clock()
        iterator = iter(batches)
        handed_over: tuple[Batch, Scores] | None = None
        while True:
            asked = self.clock()
            batch = next(iterator, None)
            self.data_s += self.clock() - asked
            scores = None if batch is None else self._score(batch)
            if handed_over is not None:
                self._write(*handed_over)
            if batch is None or scores is None:
                break
            handed_over = batch, scores
        self.seconds += self.clock() - started

    def _score(self, batch: Batch) -> Scores:
        return self.evaluator(batch.images, torch.from_numpy(self.targets[batch.rows.numpy()]))

    def _write(self, batch: Batch, scores: Scores) -> None:
        """Put a batch into the table; its broken images have no scores.

        The state comes last: a signal between two lines leaves the rows pending.
        """
        if batch.lost:
            raise DataError(
                f"{batch.lost} has gone during the run; put it back, and run the command again"
            )
        rows, right = batch.rows.numpy(), np.array([not reason for reason in batch.broken])
        self.table.top[rows] = np.where(right[:, None], scores.top.cpu().numpy(), -1)
        self.table.loss[rows] = np.where(right, scores.loss.cpu().numpy(), 0.0)
        self.table.confidence[rows] = np.where(right, scores.confidence.cpu().numpy(), 0.0)
        self.table.size[rows] = batch.sizes.numpy()
        broken = {row: why for row, why in zip(rows.tolist(), batch.broken, strict=True) if why}
        self.table.reasons.update(broken)
        self.table.state[rows] = np.where(right, SCORED, BROKEN)
        for row, reason in broken.items():
            self.watch.on_broken(row, reason)
        self.images += len(rows)
        self.correct1 += int((self.table.top[rows, 0] == self.targets[rows]).sum())
        self.watch.on_batch(Progress(self.images, self.correct1))
        self._save_in_time()

    def _save_in_time(self) -> None:
        if self.watch.save is None or self.clock() < self._save_after:
            return
        began = self.clock()
        self.watch.save()
        ended = self.clock()
        self._save_after = ended + (ended - began) / _SAVING_SHARE
