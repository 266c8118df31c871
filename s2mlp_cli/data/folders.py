"""Folders of a set of images, on a disk or in an archive: what they hold, by names alone."""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from s2mlp_cli.data.names import (
    HEAD,
    begins_like_an_image,
    is_archive_name,
    is_foreign,
    is_hidden,
    is_image,
    is_plain,
    is_unknown,
)
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
    dead_links: Sequence[str] = ()


class Folder:
    """A folder of a set; what is in it is looked up when it is asked for.

    Args:
        path: slashed, from the root of the set on; "" for the root.
        real: a path that is the same however the folder is reached.
        linked: whether a link leads here.
        listing: returns what is in it.
        head: returns the first :data:`HEAD` bytes of one of its files, or raises OSError.
    """

    def __init__(
        self,
        path: str,
        real: str,
        linked: bool,
        listing: Callable[[], Listing],
        head: Callable[[str], bytes],
    ) -> None:
        self.path, self.real, self.linked = path, real, linked
        self._listing, self._head = listing, head

    @cached_property
    def listing(self) -> Listing:
        return self._listing()

    @property
    def folders(self) -> list[Folder]:
        return self.listing.folders

    def inner(self, name: str) -> str:
        """Return the path of one of the files from the root on."""
        return f"{self.path}/{name}" if self.path else name

    @cached_property
    def images(self) -> list[str]:
        """The names of the images; those without a known ending are told by their content."""
        files = self.listing.files
        return [n for n in files if is_image(n) or (is_unknown(n) and self._is_image_inside(n))]

    def _is_image_inside(self, name: str) -> bool:
        try:
            return begins_like_an_image(self._head(name))
        except OSError:  # taken for one, so that the run says why it cannot be read
            return True

    @property
    def foreign(self) -> list[str]:
        """The paths of the images that Pillow does not read here, from the root on."""
        return [self.inner(name) for name in self.listing.files if is_foreign(name)]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @cached_property
    def archives(self) -> list[str]:
        """The names of the archives and Parquet files."""
        return [name for name in self.listing.files if is_archive_name(name)]

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

    @property
    def is_nested(self) -> bool:
        """Whether it holds archives, or folders with images: a class folder does not."""
        return self.holds_archives or any(folder.holds_images for folder in self.folders)

    def walk(self) -> Iterator[Folder]:
        """Yield this folder and all below it, however deep they are."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += reversed(folder.folders)

    def content(self) -> Iterator[str]:
        """Yield the paths of the images and archives here and below, from the root on."""
        for folder in self.walk():
            yield from map(folder.inner, (*folder.images, *folder.archives))


def disk_folder(
    root: Path, path: str = "", above: tuple[str, ...] = (), linked: bool = False
) -> Folder:
    """Return a folder on a disk; links to folders are followed, unless they lead back.

    Args:
        root: the folder at which the set begins.
        path: slashed, from there on.
        above: the real paths of the folders on the way.
        linked: whether a link is among them.
    """
    place = os.path.join(root, path)
    real = os.path.realpath(place)

    def head(name: str) -> bytes:
        with open(os.path.join(place, name), "rb") as stream:
            return stream.read(HEAD)

    def listing() -> Listing:
        found = Listing(dead_links=[])
        for entry in _entries(place):
            inner = f"{path}/{entry.name}" if path else entry.name
            is_link = entry.is_symlink()
            if is_hidden(entry.name):
                found.hidden += _images_hidden_in(entry, root, inner)
            elif is_link and _leads_nowhere(entry.path, (*above, real)) and not is_image(inner):
                found.dead_links = [*found.dead_links, inner]
            elif entry.is_dir():
                found.folders.append(disk_folder(root, inner, (*above, real), linked or is_link))
            elif entry.is_file() or is_image(inner):  # the run says of others what they are
                found.files.append(entry.name)
        return found

    return Folder(path, real, linked, listing, head)


def _entries(place: str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(place), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"the folder {place} cannot be read ({error.strerror}); check its permissions"
        ) from error


def _images_hidden_in(entry: os.DirEntry[str], root: Path, inner: str) -> list[str]:
    if not entry.is_dir(follow_symlinks=False):
        return [inner] if is_image(inner) else []
    files = (os.path.join(place, name) for place, _, names in os.walk(entry.path) for name in names)
    return sorted(os.path.relpath(file, root) for file in files if is_image(file))


def _leads_nowhere(link: str, above: tuple[str, ...]) -> bool:
    """Tell whether the target of a link is missing, or one of the folders on the way to it."""
    target = os.path.realpath(link)
    leads_back = target in above or f"{above[-1]}/".startswith(f"{target.rstrip('/')}/")
    return leads_back or not os.path.exists(target)


def archive_folder(
    names: Iterable[str],
    links: Mapping[str, str],
    dead_links: Sequence[str],
    head: Callable[[str], bytes],
) -> Folder:
    """Return the root folder of an archive.

    Args:
        names: the slashed paths of its files; those that are surely not images are left out.
        links: path of a linked folder -> path of the folder that it shows.
        dead_links: the paths of links that lead nowhere or back.
        head: returns the first bytes of the file at a path.
    """
    listings: dict[str, Listing] = {"": Listing(dead_links=dead_links)}
    folders = {"": Folder("", "", False, lambda: listings[""], head)}

    def add(above: Folder, path: str) -> Folder:
        own = listings[path] = Listing()
        real = links.get(path) or posixpath.join(above.real, posixpath.basename(path))
        folders[path] = Folder(
            path, real, above.linked or path in links,
            lambda: own, lambda name: head(f"{path}/{name}"),
        )  # fmt: skip
        listings[above.path].folders.append(folders[path])
        return folders[path]

    def folder_at(parts: Sequence[str]) -> Folder:
        folder = folders[""]
        for part in parts:
            path = folder.inner(part)
            folder = folders.get(path) or add(folder, path)
        return folder

    for path, files in _by_folder(name for name in names if not is_plain(name)):
        parts = path.split("/") if path else []
        shown = next((depth for depth, part in enumerate(parts) if is_hidden(part)), len(parts))
        listing = folder_at(parts[:shown]).listing
        for name in files:
            if shown < len(parts) or is_hidden(name):
                listing.hidden += [posixpath.join(path, name)] if is_image(name) else []
            else:
                listing.files.append(name)
    for listing in listings.values():
        listing.folders.sort(key=lambda folder: folder.path)
    return folders[""]


def _by_folder(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return (folder, its files), both sorted."""
    folders = defaultdict(list)
    for name in names:
        folder, _, last = name.rpartition("/")
        folders[folder].append(last)
    return [(folder, sorted(files)) for folder, files in sorted(folders.items())]
