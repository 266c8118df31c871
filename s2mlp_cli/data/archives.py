"""What every archive of images has in common: names as unpacking would leave them, one layout."""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from s2mlp_cli.data.folders import Folder
from s2mlp_cli.data.images import ImageSet, ImageSource
from s2mlp_cli.data.labels import TABLES, Labels
from s2mlp_cli.data.layout import folder_layout
from s2mlp_cli.data.names import is_hidden, kind_of
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
        members: name -> where it is, for every file, those that links lead to as well.
        linked_folders: name of a link -> the folder that it shows.
        dead_links: the links that lead out of the archive, or back.
        head: returns the first bytes of what is at a place.
    """

    path: Path
    members: Mapping[str, Place]
    linked_folders: Mapping[str, str]
    dead_links: Sequence[str]
    head: Callable[[Place], bytes]

    def root(self) -> Folder:
        """Return the folder that unpacking would leave, without what is surely not an image."""
        files = defaultdict(list)
        for name in self.members:
            if kind_of(name) not in ("archive", "other"):
                path, _, last = name.rpartition("/")
                files[path].append(last)
        folders = {"": Folder("", "", False, lambda name: self.head(self.members[name]))}
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
            path, above = folder.inner(part), folder
            if path not in folders:
                real = self.linked_folders.get(path) or posixpath.join(above.real, part)
                linked = above.linked or path in self.linked_folders
                folders[path] = Folder(path, real, linked, folders[""].head)
                above.listing.folders.append(folders[path])
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
    entries: Iterable[tuple[str, Place | str]],
    head: Callable[[Place], bytes],
    reading: Reading,
) -> Archive[Place]:
    """Return the content of an archive, links replaced by what they lead to.

    Args:
        path: the archive.
        entries: of each file and link its name, and where it is or the name that it leads to.
        head: reads the first bytes of what is at a place.
        reading: keeps the notes; of a name that is there more than once the last counts.

    Raises:
        DataError: a path is too long for any system, or a link with the name of an image leads to
            nothing in the archive.
    """
    files: dict[str, Place] = {}
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
    if not links:
        return Archive(path, files, {}, (), head)
    return _followed(path, files, links, head)


def _followed(
    path: Path, files: dict[str, Place], links: Mapping[str, str], head: Callable[[Place], bytes]
) -> Archive[Place]:
    """Return the content of an archive with links: to files, to folders, and to nothing."""
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
    return Archive(path, members, linked, dead, head)


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
    reading: Reading,
) -> ImageSet:
    """Return the images of one archive, in class folders or flat, sorted by name.

    Args:
        archive: its content.
        form: what it is, in words that are printed.
        source: makes what reads the members at these places.
        reading: chooses among splits, and keeps the notes.

    Raises:
        DataError: it cannot be told what to read.
    """
    layout = folder_layout(archive.root(), archive.path, reading, strict=False)
    labels = table = None
    if layout.classes is not None:
        labels = Labels.from_names(layout.classes, "the class folders in the archive", True)
    # the table of labels in the folder of the images, or the nearest one above
    above = PurePosixPath(layout.names[0]).parents if layout.names else ()
    tables = (str(folder / each) for folder in above for each in TABLES)
    if name := next((each for each in tables if each in archive.members), None):
        table = name, source([archive.members[name]])
    images = source([archive.members[name] for name in layout.names])
    return ImageSet(form, str(archive.path), images, layout.names, labels, table=table)
