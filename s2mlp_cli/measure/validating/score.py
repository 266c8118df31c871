"""From one row per image to the scores: plain numpy, after the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.measure.validating.table import SCORED, ImageTable
from s2mlp_cli.records.validate import (
    CalibrationBin,
    ClassScore,
    Confusion,
    Interval,
    RealScore,
)
from s2mlp_cli.statistics import mean_interval, wilson

Bools = NDArray[np.bool_]
Names = Mapping[int, str]

_BINS = 15
_CONFUSIONS = 10


class Scored:
    """The decoded images of a run and which of them are right.

    Attributes:
        targets: (images,) the right classes.
        top: (images, 5) the predicted ones.
        correct1, correct5: (images,) whether the first, or one of the five, is right.
    """

    def __init__(self, table: ImageTable, targets: IntArray) -> None:
        kept = table.state == SCORED
        self.targets = targets[kept]
        self.top = table.top[kept]
        self.loss_each = table.loss[kept].astype(np.float64)
        self.confidence = table.confidence[kept].astype(np.float64)
        hits = self.top == self.targets[:, None]
        self.correct1: Bools = hits[:, 0]
        self.correct5: Bools = hits.any(axis=1)

    def __len__(self) -> int:
        return len(self.targets)

    def loss(self) -> tuple[float | None, Interval | None]:
        """Return mean cross-entropy and its interval, cut off at 0; None if one is not finite."""
        if not np.isfinite(self.loss_each).all():
            return None, None
        mean = math.fsum(self.loss_each) / len(self)
        deviation = float(np.std(self.loss_each, ddof=1)) if len(self) > 1 else 0.0
        low, high = mean_interval(mean, deviation, len(self))
        return mean, (max(low, 0.0), high)

    def calibration(self) -> tuple[CalibrationBin, ...]:
        """Return the bins of equal width that have images."""
        usable = np.isfinite(self.confidence)
        place = np.clip(np.ceil(self.confidence[usable] * _BINS) - 1, 0, _BINS - 1).astype(int)
        confidence, right = self.confidence[usable], self.correct1[usable]
        return tuple(
            CalibrationBin(
                low=index / _BINS,
                high=(index + 1) / _BINS,
                images=int(inside.sum()),
                correct1=int(right[inside].sum()),
                confidence=float(confidence[inside].mean()),
            )
            for index in range(_BINS)
            if (inside := place == index).any()
        )

    def per_class(self, names: Names) -> tuple[ClassScore, ...]:
        """Return the score of each class that has images."""
        return tuple(
            ClassScore(
                label=int(label),
                name=names.get(int(label)),
                images=int((mine := self.targets == label).sum()),
                correct1=int(self.correct1[mine].sum()),
                correct5=int(self.correct5[mine].sum()),
            )
            for label in np.unique(self.targets)
        )

    def confusions(self, names: Names) -> tuple[Confusion, ...]:
        """Return the pairs (right class, predicted class) that are most often confused."""
        wrong = ~self.correct1 & (self.top[:, 0] >= 0)
        pairs, counts = np.unique(
            np.stack([self.targets[wrong], self.top[wrong, 0]], axis=1), axis=0, return_counts=True
        )
        most = np.lexsort((pairs[:, 1], pairs[:, 0], -counts))[:_CONFUSIONS]
        return tuple(
            Confusion(
                label=int(label),
                predicted=int(predicted),
                label_name=names.get(int(label)),
                predicted_name=names.get(int(predicted)),
                images=int(count),
            )
            for (label, predicted), count in zip(pairs[most], counts[most], strict=True)
        )


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean over images of |accuracy - confidence| of their bin (arXiv 1706.04599)."""
    images = sum(b.images for b in bins)
    gaps = (b.images * abs(b.correct1 / b.images - b.confidence) for b in bins)
    return math.fsum(gaps) / images if images else 0.0


def real_score(table: ImageTable, labels: Sequence[tuple[int, ...]]) -> RealScore:
    """Score under ImageNet-ReaL; images without a ReaL label are skipped."""
    kept = [row for row in np.flatnonzero(table.state == SCORED).tolist() if labels[row]]
    right = [np.isin(table.top[row], labels[row]) for row in kept]
    correct1 = sum(bool(hits[0]) for hits in right)
    return RealScore(
        images=len(kept),
        skipped=int((table.state == SCORED).sum()) - len(kept),
        correct1=correct1,
        correct5=sum(bool(hits.any()) for hits in right),
        top1=correct1 / len(kept) if kept else 0.0,
        top1_interval=wilson(correct1, len(kept)),
    )
