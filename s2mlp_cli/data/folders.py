"""Folders of a set of images, on a disk or in an archive: what is in them, by names alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from s2mlp_cli.data.names import BEGINNINGS, HEAD, is_hidden, kind_of
from s2mlp_cli.errors import DataError


@dataclass
class Listing:
    """What is directly in a folder; names are raw, as they have to be for reading.

    Attributes:
        files, folders: those that are not hidden, sorted by name.
        hidden: the images that are hidden or inside a hidden folder, as paths from the root on.
        dead_links: the links that lead nowhere, or back to where they come from, as such paths.
    """

    files: list[str] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    dead_links: list[str] = field(default_factory=list)


class Folder:
    """A folder of a set.

    Args:
        root: the folder or archive at which the set begins.
        path: slashed, from there on; "" for the root.
        real: a path that is the same however the folder is reached.
        linked: whether a link leads here.
        head: returns the first :data:`HEAD` bytes of the file at a path from the root on, or
            raises OSError.
    """

    def __init__(
        self, root: Path, path: str, real: str, linked: bool, head: Callable[[str], bytes]
    ) -> None:
        self.place, self.path, self.name = root / path, path, path.rpartition("/")[2]
        self.real, self.linked, self.head = real, linked, head

    @cached_property
    def listing(self) -> Listing:
        """What is in it; on a disk it is looked up when it is asked for."""
        return Listing()

    def inner(self, name: str) -> str:
        """Return the path of one of the files from the root on."""
        return f"{self.path}/{name}" if self.path else name

    @cached_property
    def images(self) -> list[str]:
        """The names of the images; those without a known ending are told by their content."""
        return [n for n in self.listing.files if kind_of(n) == "image" or self._is_image_inside(n)]

    def _is_image_inside(self, name: str) -> bool:
        if kind_of(name) != "unknown":
            return False
        try:
            return BEGINNINGS.match(self.head(self.inner(name))) is not None
        except OSError:  # taken for one, so that the run says why it cannot be read
            return True

    @cached_property
    def archives(self) -> list[str]:
        """The names of the archives and Parquet files."""
        return [name for name in self.listing.files if kind_of(name) == "archive"]

    @cached_property
    def holds_images(self) -> bool:
        """Whether there is an image here or below."""
        return any(folder.images for folder in self.walk())

    @cached_property
    def holds_archives(self) -> bool:
        """Whether there is an archive here or below."""
        return any(folder.archives for folder in self.walk())

    @property
    def is_empty(self) -> bool:
        """Whether there is no file here or below, whatever it is."""
        return not any(folder.listing.files for folder in self.walk())

    def walk(self) -> Iterator[Folder]:
        """Yield this folder and all below it, however deep they are."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += reversed(folder.listing.folders)

    def content(self) -> Iterator[str]:
        """Yield the paths of the images and archives here and below, from the root on."""
        for folder in self.walk():
            yield from map(folder.inner, (*folder.images, *folder.archives))


class DiskFolder(Folder):
    """A folder on a disk; links to folders are followed, unless they lead back.

    Args:
        root: the folder at which the set begins.
        path: slashed, from there on.
        above: the real paths of the folders on the way.
        linked: whether a link is among them.
    """

    def __init__(
        self, root: Path, path: str = "", above: tuple[str, ...] = (), linked: bool = False
    ) -> None:
        super().__init__(root, path, os.path.realpath(root / path), linked, self._read_head)
        self.root, self.way = root, (*above, self.real)

    def _read_head(self, path: str) -> bytes:
        with open(self.root / path, "rb") as stream:
            return stream.read(HEAD)

    @cached_property
    def listing(self) -> Listing:
        found = Listing()
        try:
            entries = sorted(os.scandir(self.place), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f"the folder {self.place} cannot be read ({error.strerror}); check its permissions"
            ) from error
        for entry in entries:
            inner = self.inner(entry.name)
            is_link = entry.is_symlink()
            if is_hidden(entry.name):
                found.hidden += self._images_hidden_in(entry)
            elif is_link and self._leads_nowhere(entry.path) and kind_of(inner) != "image":
                found.dead_links.append(inner)
            elif entry.is_dir():
                found.folders.append(DiskFolder(self.root, inner, self.way, self.linked or is_link))
            elif entry.is_file() or kind_of(inner) == "image":  # the run says what it really is
                found.files.append(entry.name)
        return found

    def _images_hidden_in(self, entry: os.DirEntry[str]) -> list[str]:
        if not entry.is_dir(follow_symlinks=False):
            return [self.inner(entry.name)] if kind_of(entry.name) == "image" else []
        files = (os.path.join(at, name) for at, _, names in os.walk(entry.path) for name in names)
        images = (file for file in files if kind_of(file) == "image")
        return sorted(os.path.relpath(file, self.root) for file in images)

    def _leads_nowhere(self, link: str) -> bool:
        """Tell whether the target of a link is missing, or one of the folders on the way to it."""
        target = os.path.realpath(link)
        leads_back = target in self.way or f"{self.real}/".startswith(f"{target.rstrip('/')}/")
        return leads_back or not os.path.exists(target)
