"""Images inside uncompressed tar archives, read by their offsets; nothing is unpacked."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2mlp_cli.data.archives import Archive, images_of, read_at, unpacked_name
from s2mlp_cli.data.images import ImageSet, is_image
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.errors import DataError

# What a damaged archive raises: odd numbers, sizes beyond all memory, headers without end.
BROKEN_TAR = (tarfile.TarError, ValueError, OverflowError, RecursionError, MemoryError)

# How compressed files begin.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX")


class Member(NamedTuple):
    """One regular file of an archive: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class TarSource:
    """Reads members of one or more archives by archive, offset and size.

    Attributes:
        archives: the paths of the archives.
        archive: (images,) which archive holds the image.
        offset, size: (images,) where its bytes begin in it, and how many they are.
    """

    archives: tuple[str, ...]
    archive: IntArray
    offset: IntArray
    size: IntArray

    @property
    def places(self) -> tuple[str, ...]:
        """The archives."""
        return self.archives

    def read(self, index: int) -> bytes:
        """Return the bytes of image ``index``."""
        archive = self.archives[int(self.archive[index])]
        return read_at(archive, int(self.offset[index]), int(self.size[index]))


def read_archive(path: str | Path) -> Archive[Member]:
    """Return what an uncompressed archive holds, reading headers only.

    Raises:
        DataError: it is compressed, no archive, cut short, or has a link to an image that it lacks.
    """
    files: dict[str, Member] = {}
    links: dict[str, str] = {}
    repeated: dict[str, None] = {}
    for entry in _entries(path):
        name = unpacked_name(entry.name)
        if not (entry.isreg() or entry.islnk() or entry.issym()):
            continue
        if name in files or name in links:
            repeated[name] = None
        files.pop(name, None)
        links.pop(name, None)
        if entry.isreg():
            files[name] = Member(name, entry.offset_data, entry.size)
        else:
            folder = posixpath.dirname(name) if entry.issym() else ""
            links[name] = posixpath.normpath(posixpath.join(folder, entry.linkname))
    files |= {member.name: member for member in _followed(path, links, files)}
    return Archive(files, tuple(repeated))


def _entries(path: str | Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a whole archive."""
    length = os.path.getsize(path)
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                if entry.size < 0:  # the next header would stand before this one
                    raise DataError(_unreadable(path))
                if entry.isreg() and entry.offset_data + entry.size > length:
                    raise DataError(_cut_short(path, entry.name))
                yield entry
            _check_end(path, archive.offset, length)
    except BROKEN_TAR as error:
        raise DataError(_unreadable(path)) from error


def is_archive(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is a tar or compressed; nothing of it is unpacked."""
    with open(path, "rb") as stream:
        head = stream.read(tarfile.BLOCKSIZE)
    return head.startswith(_COMPRESSED) or head[257:262] == b"ustar"


def _followed(
    path: str | Path, links: Mapping[str, str], files: Mapping[str, Member]
) -> Iterator[Member]:
    """Yield for each link the file that it leads to, under the link's name."""
    for name in links:
        target, passed = links[name], {name}
        while target in links and target not in passed:
            passed.add(target)
            target = links[target]
        if target in files:
            yield files[target]._replace(name=name)
        elif is_image(name):
            raise DataError(
                f"{path} holds {name} as a link to {target}, which is not in it; write the archive "
                "with the files themselves (tar --dereference --hard-dereference)"
            )


def tar_source(archives: tuple[str, ...], places: list[tuple[int, Member]]) -> TarSource:
    """Make a source from (archive, member) pairs, kept as arrays so that it stays small."""
    table = np.asarray([(a, m.offset, m.size) for a, m in places], np.int64).reshape(-1, 3)
    return TarSource(archives, table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())


def raw_tar(path: Path) -> ImageSet:
    """Read one archive of images, in class folders or flat, sorted by name.

    Raises:
        DataError: it cannot be read or holds no image.
    """

    def source(members: list[Member]) -> TarSource:
        return tar_source((str(path),), [(0, member) for member in members])

    return images_of(read_archive(path), path, "a tar of images", source)


def _check_end(path: str | Path, offset: int, length: int) -> None:
    """Hold that the two zero blocks stand where the last member ends: else something is gone."""
    with open(path, "rb") as stream:
        stream.seek(offset)
        end = stream.read(2 * tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or end.strip(b"\0"):
        raise DataError(_cut_short(path, None))


def _cut_short(path: str | Path, name: str | None) -> str:
    where = f"inside {name}" if name else "without its end mark"
    return f"the archive {path} is cut short: it ends {where}; copy or download it again"


def _unreadable(path: str | Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(4)
    if head.startswith(_COMPRESSED):
        return f"{path} is compressed, so its images cannot be read in place; decompress it first"
    return f"{path} is not a whole tar archive; copy or download it again"
