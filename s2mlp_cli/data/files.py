"""Images as files: a folder of class folders, or one flat folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from s2mlp_cli.data.images import ImageSet, is_image, left_out
from s2mlp_cli.data.labels import Labels
from s2mlp_cli.errors import DataError


@dataclass(frozen=True)
class FileSource:
    """Reads files by their names under one folder."""

    root: str
    names: tuple[str, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """The folder."""
        return (self.root,)

    def read(self, index: int) -> bytes:
        """Return the content of file ``index``."""
        with open(os.path.join(self.root, self.names[index]), "rb") as stream:
            return stream.read()


def image_folder(root: Path) -> ImageSet:
    """Read ``root`` as class folders if it has any, else as one flat folder.

    Several folders with images are classes, and so is a single one with no image beside it. What
    the other reading would have taken is left out, and named.

    Raises:
        DataError: a class folder holds no image; an interrupted copy looks like that.
    """
    beside = _images_in(root)
    folders = {folder: _below(root, folder) for folder in _folders_in(root)}
    full = [folder for folder, found in folders.items() if found]
    if len(full) > 1 or (folders and not beside):
        images = _class_folders(root, folders)
        return replace(images, stated=left_out(beside, "beside the class folders"))
    inside = [name for found in folders.values() for name in found]
    source = FileSource(str(root), beside)
    stated = left_out(inside, "in a folder of the flat set")
    return ImageSet("a flat folder", str(root), source, beside, None, stated)


def _class_folders(root: Path, folders: Mapping[str, Sequence[str]]) -> ImageSet:
    """Read ``root/<class>/**/<image>``: the folder's name is the class."""
    for folder, found in folders.items():
        if not found:
            raise DataError(
                f"the class folder {root / folder} holds no image; fill it or take it away"
            )
    names = tuple(name for found in folders.values() for name in found)
    classes = [folder for folder, found in folders.items() for _ in found]
    labels = Labels.from_names(classes, "the names of the class folders")
    return ImageSet("class folders", str(root), FileSource(str(root), names), names, labels)


def _images_in(root: Path) -> tuple[str, ...]:
    return tuple(sorted(e.name for e in os.scandir(root) if e.is_file() and is_image(e.name)))


def _folders_in(root: Path) -> list[str]:
    return sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))


def _below(root: Path, folder: str) -> list[str]:
    """Return the images below ``folder``, sorted, as slashed names relative to ``root``."""
    return sorted(f"{folder}/{name}" for name in _walk(root / folder))


def _walk(folder: Path) -> Iterator[str]:
    """Yield the images below ``folder`` as slashed names relative to it."""
    for place, _, files in os.walk(folder):
        inner = Path(place).relative_to(folder)
        yield from ((inner / name).as_posix() for name in files if is_image(name))
