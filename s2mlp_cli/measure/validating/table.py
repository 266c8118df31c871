"""What a run found for each image, and the file that keeps it while the run goes on.

A few numbers per image are all that is kept. Every score is computed from them at the end, so a
run that was interrupted and resumed cannot differ from an uninterrupted one.
"""

from __future__ import annotations

import glob
import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.data.loader import Batch
from s2mlp_cli.errors import ProgressError, WriteError
from s2mlp_cli.files import TEMPORARY, check_writable, write_atomically
from s2mlp_cli.measure.validating.evaluate import TOP, Scores

PENDING, SCORED, BROKEN = 0, 1, 2

# Where Ctrl-C leaves the progress of a run that was given no file for it.
INTERRUPTED = Path("s2mlp-validate.partial")

# Saving progress may take this fraction of the time: save often when saving is cheap.
_SAVING_FRACTION = 0.02

_REMEDY = "choose another --resume"


@dataclass
class ImageTable:
    """One row for each image of the run, in its order.

    Attributes:
        state: PENDING, SCORED or BROKEN.
        top: (images, 5) int32, the classes of the highest logits; -1 where there are none.
        loss: cross-entropy in nats.
        confidence: the highest probability.
        size: bytes of the encoded image.
        reasons: row -> why the image could not be decoded.
    """

    state: NDArray[np.uint8]
    top: NDArray[np.int32]
    loss: NDArray[np.float32]
    confidence: NDArray[np.float32]
    size: NDArray[np.int64]
    reasons: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, images: int) -> ImageTable:
        """Return a table in which every image is pending."""
        return cls(
            np.zeros(images, np.uint8),
            np.full((images, TOP), -1, np.int32),
            np.zeros(images, np.float32),
            np.zeros(images, np.float32),
            np.zeros(images, np.int64),
        )

    def __len__(self) -> int:
        return len(self.state)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by their names."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "reasons"}

    def write(self, batch: Batch, scores: Scores) -> None:
        """Fill in the rows of a batch; its broken images get no scores.

        The state comes last: a signal between two lines leaves the rows pending.
        """
        rows, right = batch.rows.numpy(), np.array([not reason for reason in batch.broken])
        self.top[rows] = np.where(right[:, None], scores.top.cpu().numpy(), -1)
        self.loss[rows] = np.where(right, scores.loss.cpu().numpy(), 0.0)
        self.confidence[rows] = np.where(right, scores.confidence.cpu().numpy(), 0.0)
        self.size[rows] = batch.sizes.numpy()
        for row, reason in zip(rows.tolist(), batch.broken, strict=True):
            if reason:
                self.reasons[row] = reason
        self.state[rows] = np.where(right, SCORED, BROKEN)

    def merge(self, other: ImageTable) -> None:
        """Take over every row that ``other`` has finished."""
        done = other.state != PENDING
        theirs = other.columns()
        for name, column in self.columns().items():
            column[done] = theirs[name][done]
        self.reasons.update(other.reasons)


class Progress:
    """Keeps the table of a run in a file, so that another run can continue from it.

    A full disk does not end a run: the scores are worth more than the file.

    Args:
        path: the file; None keeps the table only if the run ends early (see :meth:`keep`).
        key: what two runs must share for one to continue the other, by names for people.
        rank: of this process: each writes a file of its own, and reads all of them.

    Attributes:
        failure: why the last save failed, or None.
    """

    def __init__(self, path: Path | None, key: dict[str, Any], rank: int = 0) -> None:
        if path is not None:
            check_writable(path, _REMEDY)
        self.path, self.key, self.rank = path, key, rank
        self.failure: WriteError | None = None
        self._due = 0.0

    def restore(self, images: int) -> ImageTable:
        """Return a table of ``images`` rows, with all that an earlier run scored in any process.

        Images that it could not decode are tried again: they may have been replaced since.

        Raises:
            ProgressError: a file is not progress, or is that of another validation.
        """
        table = ImageTable.empty(images)
        if self.path is not None:
            ranks = sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.rank*"))
            for part in [self.path] * self.path.exists() + ranks:
                table.merge(_load(part, self.key))
        table.state[table.state == BROKEN] = PENDING
        return table

    def save_when_due(self, table: ImageTable, on_remark: Callable[[str], None]) -> None:
        """Save the table, unless that would take too much of the time; say once that it fails."""
        began = time.perf_counter()
        if self.path is None or began < self._due:
            return
        before = self.failure
        self._try_to_save(table, self._own(self.path))
        if self.failure is not None and before is None:
            on_remark(f"progress is not saved: {self.failure}")
        ended = time.perf_counter()
        self._due = ended + (ended - began) / _SAVING_FRACTION

    def keep(self, table: ImageTable) -> Path:
        """Save the table of a run that ends early, and return the file to resume from.

        Raises:
            WriteError: it cannot be written.
        """
        path = self._own(self.path or INTERRUPTED)
        _save(table, self.key, path)
        return path

    def finish(self, table: ImageTable) -> None:
        """Leave one file with the rows of all processes, and nothing of runs that were killed."""
        if self.path is None or not self._try_to_save(table, self.path):
            return
        name = glob.escape(self.path.name)
        for pattern in (f"{name}.rank*", f".{name}.*{TEMPORARY}"):
            for part in self.path.parent.glob(pattern):
                part.unlink()

    def _try_to_save(self, table: ImageTable, path: Path) -> bool:
        try:
            _save(table, self.key, path)
            self.failure = None
        except WriteError as error:
            self.failure = error
        return self.failure is None

    def _own(self, path: Path) -> Path:
        return path.with_name(f"{path.name}.rank{self.rank}") if self.rank else path


def _save(table: ImageTable, key: dict[str, Any], path: Path) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"meta": np.array(json.dumps({"key": key})), **table.columns()}
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue(), _REMEDY)


# What reading a file that is something else raises.
_OTHER_FILE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _load(path: Path, key: dict[str, Any]) -> ImageTable:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            saved = dict(json.loads(str(arrays["meta"]))["key"])
            table = ImageTable(**{name: arrays[name] for name in ImageTable.empty(0).columns()})
    except _OTHER_FILE as error:
        raise ProgressError(
            f"{path} is not the progress of a validation; choose another file for --resume"
        ) from error
    for name, value in key.items():
        if saved.get(name) != value:
            difference = _difference(name, saved.get(name), value)
            raise ProgressError(
                f"{path} is the progress of another validation: {difference}; use the same, or "
                "another --resume"
            )
    return table


def _difference(name: str, old: Any, new: Any) -> str:
    """Return what differs; of a mapping, its first value that does."""
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in {**new, **old} if old.get(key) != new.get(key))
        return _difference(f"{name}'s {key}", old.get(key), new.get(key))
    return f"its {name} is {old}, this run's is {new}"
