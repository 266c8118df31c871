"""What every form of a data set becomes: named images that can be read in any order, and labels.

A source is pickled into the worker processes of a loader, so it has no open file when it is
pickled: it opens its files in the process that reads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from s2mlp_cli.data.labels import Labels


class ImageSource(Protocol):
    """The encoded bytes of each image, by its position."""

    @property
    def places(self) -> tuple[str, ...]:
        """The folder or the files with the images: if one goes, the set is gone."""
        ...

    def read(self, index: int) -> bytes:
        """Return the bytes of image ``index`` exactly as they are stored.

        Raises:
            OSError: they cannot be read any more.
        """
        ...


@dataclass(frozen=True)
class FileSource:
    """Reads files by their names under one folder, the only one of ``places``."""

    places: tuple[str]
    names: tuple[str, ...]

    def read(self, index: int) -> bytes:
        with open(os.path.join(*self.places, self.names[index]), "rb") as stream:
            return stream.read()


@dataclass(frozen=True)
class ImageSet:
    """A data set that was recognised.

    Attributes:
        form: what was recognised, in words that are printed: ``"class folders"``.
        path: where it is.
        source: reads the images.
        names: the name of each image; inside class folders ``"n01440764/x.JPEG"``. Those that are
            not UTF-8 are as Python reads them from a disk.
        labels: what the set itself says about classes, or None if a label file has to say it.
        notes: what was not read or decided while recognising it, in sentences.
        devkit: the devkit archive that gave the labels or is beside the images, if any.
        table: the table of labels inside the archive of the images, if any: its name, and a source
            that reads it at position 0.
    """

    form: str
    path: str
    source: ImageSource
    names: tuple[str, ...]
    labels: Labels | None
    notes: tuple[str, ...] = ()
    devkit: Path | None = None
    table: tuple[str, ImageSource] | None = None

    def __len__(self) -> int:
        return len(self.names)
