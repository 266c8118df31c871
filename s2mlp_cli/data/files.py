"""Images as files: a folder of class folders, or one flat folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from s2mlp_cli.data.images import ImageSet, is_image
from s2mlp_cli.data.labels import Labels
from s2mlp_cli.errors import DataError


@dataclass(frozen=True)
class FileSource:
    """Reads files by their names under one folder."""

    root: str
    names: tuple[str, ...]

    def read(self, index: int) -> bytes:
        """Return the content of file ``index``."""
        with open(os.path.join(self.root, self.names[index]), "rb") as stream:
            return stream.read()


def class_folders(root: Path) -> ImageSet:
    """Read ``root/<class>/**/<image>``: the folder's name is the class.

    Raises:
        DataError: a class folder holds no image; an interrupted copy looks like that.
    """
    names: list[str] = []
    classes: list[str] = []
    for folder in sorted(entry.name for entry in os.scandir(root) if entry.is_dir()):
        if folder.startswith("."):
            continue
        found = sorted(f"{folder}/{name}" for name in _walk(root / folder))
        if not found:
            raise DataError(
                f"the class folder {root / folder} holds no image; fill it or take it away"
            )
        names += found
        classes += [folder] * len(found)
    labels = Labels.from_names(classes, "the names of the class folders")
    return ImageSet(
        "class folders", str(root), FileSource(str(root), tuple(names)), tuple(names), labels
    )


def flat_folder(root: Path) -> ImageSet:
    """Read the images that lie directly in ``root``; a label file has to name their classes."""
    names = tuple(sorted(e.name for e in os.scandir(root) if e.is_file() and is_image(e.name)))
    return ImageSet("a flat folder", str(root), FileSource(str(root), names), names, None)


def _walk(folder: Path) -> Iterator[str]:
    """Yield the images below ``folder`` as slashed names relative to it."""
    for place, _, files in os.walk(folder):
        inner = Path(place).relative_to(folder)
        yield from ((inner / name).as_posix() for name in files if is_image(name))
