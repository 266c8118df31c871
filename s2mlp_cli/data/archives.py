"""What every archive of images has in common: names as unpacking would leave them, one layout."""

from __future__ import annotations

import os
import posixpath
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from s2mlp_cli.data.folders import Folder
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import TABLES, IntArray, Labels
from s2mlp_cli.data.layout import folder_layout
from s2mlp_cli.data.names import is_hidden, kind_of
from s2mlp_cli.data.splits import Reading
from s2mlp_cli.errors import DataError

# Where a member is, in numbers that its form gives a meaning.
Member = tuple[int, ...]

# The longest path that systems unpack.
_LONGEST_PATH = 4096

# Links in what links show are followed so often.
_NESTED_LINKS = 3


@dataclass(frozen=True)
class ArchiveSource(ABC):
    """Reads members of archives: an :class:`~s2mlp_cli.data.images.ImageSource`.

    Attributes:
        places: the paths of the archives.
        table: one row for each member: the number of its archive, and where it is in there.
    """

    places: tuple[str, ...]
    table: IntArray

    @classmethod
    def of(cls, path: Path, members: Iterable[Member]) -> ArchiveSource:
        """Return what reads these members of one archive."""
        return cls((str(path),), np.asarray([(0, *member) for member in members], np.int64))

    @abstractmethod
    def read(self, index: int) -> bytes: ...

    @abstractmethod
    def head(self, index: int) -> bytes:
        """Return the first bytes of a member."""


@dataclass(frozen=True)
class Archive:
    """The content of an archive as unpacking it would leave it.

    Attributes:
        reader: reads its members.
        members: name -> where it is, for every file, those that links lead to as well.
        linked_folders: name of a link -> the folder that it shows.
        dead_links: the links that lead out of the archive, or back.
    """

    path: Path
    reader: type[ArchiveSource]
    members: Mapping[str, Member]
    linked_folders: Mapping[str, str]
    dead_links: Sequence[str]

    def source(self, names: Iterable[str]) -> ArchiveSource:
        """Return what reads the members of these names."""
        return self.reader.of(self.path, map(self.members.__getitem__, names))

    def root(self) -> Folder:
        """Return the folder that unpacking would leave, without what is surely not an image."""
        files = defaultdict(list)
        for name in self.members:
            if kind_of(name) not in ("archive", "other"):
                path, _, last = name.rpartition("/")
                files[path].append(last)
        folders = {"": Folder(self.path, "", "", False, lambda name: self.source([name]).head(0))}
        folders[""].listing.dead_links += self.dead_links
        for path in sorted(files):
            parts = path.split("/") if path else []
            shown = next((i for i, part in enumerate(parts) if is_hidden(part)), len(parts))
            listing = self._folder(parts[:shown], folders).listing
            for name in sorted(files[path]):
                if shown == len(parts) and not is_hidden(name):
                    listing.files.append(name)
                elif kind_of(name) == "image":
                    listing.hidden.append(posixpath.join(path, name))
        for folder in folders.values():
            folder.listing.folders.sort(key=lambda each: each.path)
        return folders[""]

    def _folder(self, parts: Sequence[str], folders: dict[str, Folder]) -> Folder:
        """Return the folder at a path, made with those above it where they are not there yet."""
        folder = folders[""]
        for part in parts:
            path = folder.inner(part)
            if path not in folders:
                real = self.linked_folders.get(path) or posixpath.join(folder.real, part)
                linked = folder.linked or path in self.linked_folders
                folders[path] = Folder(self.path, path, real, linked, folder.head)
                folder.listing.folders.append(folders[path])
            folder = folders[path]
        return folder


def unpacked_name(name: str) -> str:
    """Return the slashed name of a member as it would be below the folder of unpacking."""
    return posixpath.normpath(f"/{name}").lstrip("/")


def link_target(name: str, target: str) -> str:
    """Return where a symbolic link of this name leads inside the archive."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def unpacked(
    path: Path,
    reader: type[ArchiveSource],
    entries: Iterable[tuple[str, Member | str]],
    reading: Reading,
) -> Archive:
    """Return the content of an archive, links replaced by what they lead to.

    Args:
        path: the archive.
        reader: reads its members.
        entries: of each file and link its name, and where it is or the name that it leads to.
        reading: keeps the notes; of a name that is there more than once the last counts.

    Raises:
        DataError: a path is too long for any system, or a link with the name of an image leads to
            nothing in the archive.
    """
    files: dict[str, Member] = {}
    links: dict[str, str] = {}
    repeated: dict[str, None] = {}
    for name, place in entries:
        if name in files or name in links:
            repeated[name] = None
        files.pop(name, None)
        links.pop(name, None)
        if isinstance(place, str):
            links[name] = place
        else:
            files[name] = place
    longest = max(files, key=len, default="")
    if len(longest) > _LONGEST_PATH:
        raise DataError(
            f"{path} contains a path of {len(longest):,} characters, over the limit of "
            f"{_LONGEST_PATH:,} ({longest[:40]}…); write the archive without it"
        )
    if images := [name for name in repeated if kind_of(name) == "image"]:
        more = f" and {len(images) - 1} more" if len(images) > 1 else ""
        reading.remark(
            f"{path.name}: more than once in the archive: {images[0]}{more}; the last copy is used"
        )
    return Archive(path, reader, *(_followed(path, files, links) if links else (files, {}, ())))


def _followed(
    path: Path, files: Mapping[str, Member], links: Mapping[str, str]
) -> tuple[dict[str, Member], dict[str, str], list[str]]:
    """Return the members with those that links show, the linked folders, and the dead links."""
    members, linked, dead = dict(files), {}, []
    holders = {posixpath.dirname(name) for name in files}
    folders = {str(each) for holder in holders for each in PurePosixPath(holder, "x").parents}
    for name in links:
        target, passed = links[name], {name}
        while target in links and target not in passed:
            passed.add(target)
            target = links[target]
        if target in files:
            members[name] = files[target]
        elif target in folders and target != "." and not f"{name}/".startswith(f"{target}/"):
            linked[name] = target
        elif kind_of(name) == "image":
            raise DataError(
                f"{path} contains {name} as a link to {target}, which is not in it; write the "
                "archive with the files themselves (tar --dereference --hard-dereference)"
            )
        else:
            dead.append(name)
    for _ in range(_NESTED_LINKS):
        members |= dict(_shown(linked, members))
    return members, linked, dead


def _shown(
    linked: Mapping[str, str], members: Mapping[str, Member]
) -> Iterator[tuple[str, Member]]:
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


def archive_images(archive: Archive, form: str, reading: Reading) -> ImageSet:
    """Return the images of one archive, in class folders or flat, sorted by name.

    Args:
        archive: its content.
        form: what it is, in words that are printed.
        reading: chooses among splits, and keeps the notes.

    Raises:
        DataError: it cannot be told what to read.
    """
    layout = folder_layout(archive.root(), reading, strict=False)
    labels = table = None
    if layout.classes is not None:
        labels = Labels.from_names(layout.classes, "the class folders in the archive", True)
    # the table of labels in the folder of the images, or the nearest one above
    above = PurePosixPath(layout.names[0]).parents if layout.names else ()
    tables = (str(folder / each) for folder in above for each in TABLES)
    if name := next((each for each in tables if each in archive.members), None):
        table = name, archive.source([name])
    images = archive.source(layout.names)
    return ImageSet(form, str(archive.path), images, layout.names, labels, table=table)
