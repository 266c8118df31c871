"""What every form of a data set becomes: named images that can be read in any order, and labels.

A source is pickled into the worker processes of a loader, so it holds no open file when it is
pickled: it opens its files in the process that reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from s2mlp_cli.data.labels import Labels

# The endings by which a file is taken for an image.
SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")


class ImageSource(Protocol):
    """The encoded bytes of each image, by its position."""

    @property
    def places(self) -> tuple[str, ...]:
        """The folder or the files that hold the images: if one goes, the set is gone."""
        ...

    def read(self, index: int) -> bytes:
        """Return the bytes of image ``index`` exactly as they are stored.

        Raises:
            OSError: they cannot be read any more.
        """
        ...


@dataclass(frozen=True)
class ImageSet:
    """A data set that was recognised.

    Attributes:
        form: what was recognised, in words that are printed: ``"class folders"``.
        path: where it lies.
        source: reads the images.
        names: the name of each image; inside class folders ``"n01440764/x.JPEG"``.
        labels: what the set itself says about classes, or None if a label file has to say it.
        stated: what was left out or decided while recognising it, in sentences.
        devkit: the devkit archive that gave the labels or lies beside the images, if any.
        table: the table of labels inside the archive of the images, if any: its name, and a source
            that reads it at position 0.
    """

    form: str
    path: str
    source: ImageSource
    names: tuple[str, ...]
    labels: Labels | None
    stated: tuple[str, ...] = ()
    devkit: Path | None = None
    table: tuple[str, ImageSource] | None = None

    def __len__(self) -> int:
        return len(self.names)


def is_image(name: str) -> bool:
    """Tell whether a file name looks like an image; hidden files never do."""
    last = base_name(name)
    return last.lower().endswith(SUFFIXES) and not last.startswith(".")


def left_out(names: Sequence[str], why: str) -> tuple[str, ...]:
    """Return a sentence that names what is not used, the first of it by name; none for nothing."""
    if not names:
        return ()
    images = f"{len(names):,} image{'s' * (len(names) != 1)}"
    return (f"{images} {why} left out, the first is {names[0]}",)


def base_name(name: str) -> str:
    """Return the last part of a slashed name."""
    return name.rpartition("/")[2]
