"""From what a data set calls its classes to the outputs of a classifier."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.errors import DataError

IntArray = NDArray[np.int64]

# The tables of labels that are found by themselves beside the images, in this order.
TABLES = (
    "LOC_val_solution.csv",
    "labels.csv",
    "val.txt",
    "val_map.txt",
    "val_annotations.txt",
)


@dataclass(frozen=True)
class Labels:
    """The class of each image, as the data set names it.

    Attributes:
        values: (images,) positions in ``classes``; the class numbers themselves if it is None.
        classes: the names of the classes in their order, or None where the set has only numbers.
        origin: where the labels come from, in words that are printed.
        by_folder: they are the names of folders, which may be groups of another kind.
    """

    values: IntArray
    classes: tuple[str, ...] | None
    origin: str
    by_folder: bool = False

    @classmethod
    def from_names(cls, names: Sequence[str], origin: str, by_folder: bool = False) -> Labels:
        """Give each image the position of its class among all in order.

        Class names are sorted as numbers if all are numbers (ImageNetV2), else as text (synsets).
        """
        distinct = set(names)
        # pandas writes 3 as 3.0
        numbers = all(re.fullmatch(r"\d+(\.\d+)?", name) for name in distinct)
        classes = tuple(sorted(distinct, key=float) if numbers else sorted(distinct))
        position = {name: index for index, name in enumerate(classes)}
        values = np.fromiter((position[name] for name in names), np.int64, len(names))
        return cls(values, classes, origin, by_folder)

    @classmethod
    def from_values(cls, values: Sequence[str | int], origin: str) -> Labels:
        """Take whole numbers as class numbers and anything else as class names."""
        if all(isinstance(value, int) for value in values):
            return cls(np.asarray(values, np.int64), None, origin)
        return cls.from_names([str(value) for value in values], origin)

    def named(self) -> list[str]:
        """Return the name or number of the class of each image, as text."""
        values = self.values.tolist()
        return [self.classes[value] if self.classes else str(value) for value in values]

    def targets(self, outputs: int) -> IntArray:
        """Return which of the classifier's ``outputs`` is right for each image: (images,).

        A set with as many classes as outputs is taken in its own order. A part of ImageNet-1k is
        placed by the sorted synsets, so that folders left out move nothing.

        Raises:
            DataError: the classes of the set cannot be outputs of this classifier.
        """
        if self.classes is None:
            return self._numbered(outputs)
        if len(self.classes) == outputs:
            return self.values
        synsets = imagenet_synsets()
        if outputs == len(synsets) and set(self.classes) <= set(synsets):
            position = {name: index for index, name in enumerate(synsets)}
            return np.asarray([position[name] for name in self.classes], np.int64)[self.values]
        raise DataError(
            f"the data has {len(self.classes)} classes ({self.origin}), but the checkpoint's "
            f"classifier has {outputs} outputs; give the data that it was trained for, or another "
            "checkpoint"
        )

    def _numbered(self, outputs: int) -> IntArray:
        low, high = int(self.values.min()), int(self.values.max())
        if low < 0 or high >= outputs:
            wrong = low if low < 0 else high
            raise DataError(
                f"the data has a label {wrong} ({self.origin}), but the checkpoint's classifier "
                f"has the outputs 0 to {outputs - 1}; give labels that count from 0, or another "
                "checkpoint"
            )
        return self.values


def class_of(written: Any) -> int | str:
    """Return the class that a file writes: a whole number or a name, also as the one of a list.

    Raises:
        ValueError: it is of another type, such as a one-hot list, or a number that no class has.
    """
    written = _alone(written)
    if isinstance(written, str) and written.strip() and not _is_odd_number(written):
        return written
    if isinstance(written, int | float):
        with suppress(ValueError):
            return class_number(written)
    what = f"a list of {len(written)}" if isinstance(written, list | tuple) else f"{written!s:.40}"
    raise ValueError(
        f"'{what}' ({type(written).__name__}) is neither a whole number that a class can have nor "
        "a name"
    )


def _alone(written: Any) -> Any:
    """Return the only item of a list of one, and anything else as it is."""
    return written[0] if isinstance(written, list | tuple) and len(written) == 1 else written


def _is_odd_number(text: str) -> bool:
    """Tell whether a text is a number that no class has: ``-1``, ``0.5`` or ``nan``."""
    try:
        number = float(text)
    except ValueError:
        return False
    return not (number >= 0 and number.is_integer())


def class_number(written: object) -> int:
    """Return the number of a class from what a file writes: ``7``, ``"7"``, ``b"7"`` or ``7.0``.

    Raises:
        ValueError: it is not a whole number, or one that no classifier has.
    """
    written = _alone(written)
    text = written.decode("ascii", "replace") if isinstance(written, bytes) else str(written)
    text = text.strip()
    match = re.fullmatch(r"([0-9]{1,9})(?:\.0*)?", text)
    if match is None:
        raise ValueError(f"'{text[:40]}' is not a whole number that a class can have")
    return int(match[1])


@lru_cache(maxsize=1)
def imagenet_synsets() -> tuple[str, ...]:
    """Return the 1000 synsets of ImageNet-1k, sorted, from the list that timm carries."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())
