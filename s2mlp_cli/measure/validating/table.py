"""What a run found for each image, and how it survives the end of its process.

A few numbers per image are all that is kept: every score is computed from them at the end, so a
run that was broken off and resumed cannot differ from an unbroken one.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.errors import RecordError
from s2mlp_cli.files import write_atomically

PENDING, SCORED, BROKEN = 0, 1, 2
TOP = 5


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

    def merge(self, other: ImageTable) -> None:
        """Take over every row that ``other`` has finished."""
        done = other.state != PENDING
        for name, column in self._columns().items():
            column[done] = getattr(other, name)[done]
        self.reasons.update(other.reasons)

    def retry_broken(self) -> None:
        """Make the images that could not be decoded pending again."""
        self.state[self.state == BROKEN] = PENDING
        self.reasons.clear()

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "reasons"}

    def save(self, path: Path, key: dict[str, Any]) -> None:
        """Write the table and the ``key`` of its run to ``path``, atomically.

        Raises:
            WriteError: it cannot be written.
        """
        buffer = io.BytesIO()
        meta = json.dumps({"key": key, "reasons": sorted(self.reasons.items())})
        arrays: dict[str, Any] = {"meta": np.array(meta), **self._columns()}
        np.savez(buffer, **arrays)
        write_atomically(path, buffer.getvalue(), "choose another --resume")

    @classmethod
    def load(cls, path: Path, key: dict[str, Any]) -> ImageTable:
        """Read a saved table back.

        Raises:
            RecordError: the file is none, or belongs to another run than ``key`` describes.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                meta = json.loads(str(arrays["meta"]))
                columns = {f.name: arrays[f.name] for f in fields(cls) if f.name != "reasons"}
                reasons = {int(row): str(reason) for row, reason in meta["reasons"]}
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise RecordError(
                f"{path} is not the progress of a validation ({type(error).__name__}); give "
                "--resume another file"
            ) from error
        _check_key(path, meta["key"], key)
        return cls(**columns, reasons=reasons)


def _check_key(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if saved.get(name) != value:
            raise RecordError(
                f"{path} is the progress of another validation: its "
                f"{_difference(name, saved.get(name), value)}; use the same, or another --resume"
            )


def _difference(name: str, old: Any, new: Any) -> str:
    """Return what is not the same, of a whole mapping its first value that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in {**new, **old} if old.get(key) != new.get(key))
        return _difference(f"{name}'s {key}", old.get(key), new.get(key))
    return f"{name} is {old}, here it is {new}"
