"""What every archive of images has in common: names as unpacking would leave them, one layout."""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from s2mlp_cli.data.folders import Folder, archive_folder
from s2mlp_cli.data.images import ImageSet, ImageSource
from s2mlp_cli.data.labels import TABLES, Labels
from s2mlp_cli.data.layout import folder_layout
from s2mlp_cli.data.names import is_image
from s2mlp_cli.data.splits import Reading
from s2mlp_cli.errors import DataError

# Where a member is, in the words of its form.
Place = TypeVar("Place")

# The longest path that systems unpack.
_LONGEST_PATH = 4096

# Links in what links show are followed so often.
_NESTED_LINKS = 3


@dataclass(frozen=True)
class Archive(Generic[Place]):
    """The content of an archive as unpacking it would leave it.

    Attributes:
        path: the archive.
        members: name -> where it is, for every file, those that links lead to as well.
        repeated: the names that are in it more than once: the last one counts.
        linked_folders: name of a link -> the folder that it shows.
        dead_links: the links that lead out of the archive, or back.
        notes: what else there is to say about it, in sentences.
    """

    path: Path
    members: Mapping[str, Place]
    repeated: Sequence[str]
    linked_folders: Mapping[str, str]
    dead_links: Sequence[str]
    notes: tuple[str, ...] = ()

    def root(self, head: Callable[[Place], bytes]) -> Folder:
        """Return the folder that unpacking would leave; ``head`` reads where a member begins."""
        return archive_folder(
            self.members,
            self.linked_folders,
            self.dead_links,
            lambda name: head(self.members[name]),
        )

    def tell(self, reading: Reading) -> None:
        """Note what is odd about it."""
        for note in self.notes:
            reading.remark(f"{self.path.name}: {note}")
        if names := [name for name in self.repeated if is_image(name)]:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            reading.remark(
                f"{self.path.name}: more than once in the archive: {names[0]}{more}; the last copy "
                "is used"
            )


def unpacked_name(name: str) -> str:
    """Return the slashed name of a member as it would be below the folder of unpacking."""
    return posixpath.normpath(f"/{name}").lstrip("/")


def link_target(name: str, target: str) -> str:
    """Return where a symbolic link of this name leads inside the archive."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def unpacked(
    path: Path,
    files: Mapping[str, Place],
    links: Mapping[str, str],
    repeated: Sequence[str],
    notes: tuple[str, ...] = (),
) -> Archive[Place]:
    """Return the content of an archive, links replaced by what they lead to.

    Args:
        path: the archive.
        files: name -> where it is, for what is not a link.
        links: name -> the name that it leads to.
        repeated: the names that are in it more than once.
        notes: what else there is to say about it.

    Raises:
        DataError: a path is too long for any system, or a link with the name of an image leads to
            nothing in the archive.
    """
    longest = max(files, key=len, default="")
    if len(longest) > _LONGEST_PATH:
        raise DataError(
            f"{path} contains a path of {len(longest):,} characters, over the limit of "
            f"{_LONGEST_PATH:,} ({longest[:40]}…); write the archive without it"
        )
    members, linked, dead = dict(files), {}, []
    holders = {posixpath.dirname(name) for name in files} if links else set()
    folders = {str(folder) for holder in holders for folder in PurePosixPath(holder, "x").parents}
    for name in links:
        target = _end_of(name, links)
        if target in files:
            members[name] = files[target]
        elif target in folders and not f"{name}/".startswith(f"{target}/") and target != ".":
            linked[name] = target
        elif is_image(name):
            raise DataError(
                f"{path} contains {name} as a link to {target}, which is not in it; write the "
                "archive with the files themselves (tar --dereference --hard-dereference)"
            )
        else:
            dead.append(name)
    for _ in range(_NESTED_LINKS):
        members |= dict(_shown(linked, members))
    return Archive(path, members, repeated, linked, dead, notes)


def _end_of(name: str, links: Mapping[str, str]) -> str:
    """Return where a link leads, through others; round in a circle to one of them."""
    target, passed = links[name], {name}
    while target in links and target not in passed:
        passed.add(target)
        target = links[target]
    return target


def _shown(linked: Mapping[str, str], members: Mapping[str, Place]) -> Iterator[tuple[str, Place]]:
    """Yield the files that linked folders show, under the names of the links."""
    names = sorted(members) if linked else []
    for link, folder in linked.items():
        first, end = (bisect_left(names, folder + mark) for mark in ("/", "0"))  # "0" follows "/"
        for name in names[first:end]:
            if not name.startswith(f"{link}/"):
                yield link + name[len(folder) :], members[name]


def read_at(path: str, offset: int, size: int) -> bytes:
    """Return ``size`` bytes of a file from ``offset`` on.

    The file is opened for each image: that costs nothing compared to decoding it, and no file
    position is shared between the processes that read.

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
    archive: Archive[Place],
    form: str,
    source: Callable[[list[Place]], ImageSource],
    head: Callable[[Place], bytes],
    reading: Reading,
) -> ImageSet:
    """Return the images of one archive, in class folders or flat, sorted by name.

    Args:
        archive: its content.
        form: what it is, in words that are printed.
        source: makes what reads the members at these places.
        head: reads the first bytes of a member.
        reading: chooses among splits, and keeps the notes.

    Raises:
        DataError: it cannot be told what to read.
    """
    archive.tell(reading)
    layout = folder_layout(archive.root(head), archive.path, reading, strict=False)
    labels = table = None
    if layout.classes is not None:
        labels = Labels.from_names(layout.classes, "the class folders in the archive")
    elif layout.names and (name := _table_above(layout.names[0], archive.members)) is not None:
        table = name, source([archive.members[name]])
    images = source([archive.members[name] for name in layout.names])
    return ImageSet(form, str(archive.path), images, layout.names, labels, table=table)


def _table_above(image: str, members: Collection[str]) -> str | None:
    """Return the name of the table of labels in the image's folder or the nearest one above."""
    tables = (str(folder / table) for folder in PurePosixPath(image).parents for table in TABLES)
    return next((table for table in tables if table in members), None)
