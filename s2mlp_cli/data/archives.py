"""What every archive of images has in common: names as unpacking would leave them, one layout."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from s2mlp_cli.data.images import ImageSet, ImageSource, is_image
from s2mlp_cli.data.labels import TABLES, Labels
from s2mlp_cli.data.layout import layout_of
from s2mlp_cli.errors import DataError

# Where a member lies, in the words of its form.
Place = TypeVar("Place")


@dataclass(frozen=True)
class Archive(Generic[Place]):
    """The content of an archive as unpacking it would leave it.

    Attributes:
        members: name -> where it lies, for every file.
        repeated: the names that stood in it more than once: the last one counts.
    """

    members: Mapping[str, Place]
    repeated: Sequence[str]

    @property
    def stated(self) -> tuple[str, ...]:
        """What was decided about it, in sentences."""
        names = [name for name in self.repeated if is_image(name)]
        if not names:
            return ()
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return (
            f"more than once in the archive: {names[0]}{more}; the last of each counts, as when it "
            "is unpacked",
        )


def unpacked_name(name: str) -> str:
    """Return the slashed name of a member as it would stand below the folder of unpacking."""
    return posixpath.normpath(name).lstrip("/")


def read_at(path: str, offset: int, size: int) -> bytes:
    """Return ``size`` bytes of a file from ``offset`` on.

    The file is opened for each image: that is nothing beside decoding one, and no file position is
    shared between the processes that read.

    Raises:
        OSError: there are not so many.
    """
    with open(path, "rb") as stream:
        present = max(os.fstat(stream.fileno()).st_size - offset, 0)
        if present < size:
            raise OSError(f"the archive ends {size - present} bytes before the image does")
        stream.seek(offset)
        return stream.read(size)


def images_of(
    archive: Archive[Place], path: Path, form: str, source: Callable[[list[Place]], ImageSource]
) -> ImageSet:
    """Return the images of one archive, in class folders or flat, sorted by name.

    Args:
        archive: its content.
        path: where it lies.
        form: what it is, in words that are printed.
        source: makes what reads the members at these places.

    Raises:
        DataError: it holds no image.
    """
    found = {name: place for name, place in archive.members.items() if is_image(name)}
    if not found:
        raise DataError(f"{path} holds no images; give the archive of the validation images")
    layout = layout_of(sorted(found))
    labels = table = None
    if layout.classes is not None:
        labels = Labels.from_names(layout.classes, "the class folders in the archive")
    elif (name := _table_above(layout.names[0], archive.members)) is not None:
        table = name, source([archive.members[name]])
    images = source([found[name] for name in layout.names])
    stated = (*archive.stated, *layout.stated)
    return ImageSet(form, str(path), images, layout.names, labels, stated, table=table)


def _table_above(image: str, members: Collection[str]) -> str | None:
    """Return the name of the table of labels in the image's folder or the nearest one above."""
    tables = (str(folder / table) for folder in PurePosixPath(image).parents for table in TABLES)
    return next((table for table in tables if table in members), None)
