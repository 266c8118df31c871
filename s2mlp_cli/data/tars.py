"""Images inside uncompressed tar archives, read by their offsets; nothing is unpacked."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from s2mlp_cli.data.images import ImageSet, is_image
from s2mlp_cli.data.labels import IntArray, Labels
from s2mlp_cli.errors import DataError


class Member(NamedTuple):
    """One regular file of an archive: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class TarSource:
    """Reads members of one or more archives by archive, offset and size.

    The archive is opened for each image: that is nothing beside decoding one, and no file
    position is shared between the processes that read.

    Attributes:
        archives: the paths of the archives.
        archive: (images,) which archive holds the image.
        offset, size: (images,) where its bytes begin in it, and how many they are.
    """

    archives: tuple[str, ...]
    archive: IntArray
    offset: IntArray
    size: IntArray

    def read(self, index: int) -> bytes:
        """Return the bytes of image ``index``."""
        size = int(self.size[index])
        with open(self.archives[int(self.archive[index])], "rb") as stream:
            stream.seek(int(self.offset[index]))
            content = stream.read(size)
        if len(content) < size:
            raise OSError(f"the archive ends {size - len(content)} bytes before the image does")
        return content


def members(path: str | Path) -> Iterator[Member]:
    """Yield the regular files of an uncompressed archive, reading headers only.

    Raises:
        DataError: it is compressed, no archive, or cut short.
    """
    length = os.path.getsize(path)
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                if not entry.isreg():
                    continue
                if entry.offset_data + entry.size > length:
                    raise DataError(_cut_short(path, entry.name))
                yield Member(entry.name.removeprefix("./"), entry.offset_data, entry.size)
            _check_end(path, archive.offset, length)
    except tarfile.ReadError as error:
        raise DataError(_unreadable(path)) from error


def tar_source(archives: tuple[str, ...], places: list[tuple[int, Member]]) -> TarSource:
    """Make a source from (archive, member) pairs, kept as arrays so that it stays small."""
    table = np.asarray([(a, m.offset, m.size) for a, m in places], np.int64).reshape(-1, 3)
    return TarSource(archives, table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())


def raw_tar(path: Path) -> ImageSet:
    """Read one archive of images, in class folders or flat, sorted by name.

    Raises:
        DataError: it cannot be read or holds no image.
    """
    found = sorted(member for member in members(path) if is_image(member.name))
    if not found:
        raise DataError(f"{path} holds no images; give the archive of the validation images")
    names = tuple(member.name for member in found)
    classes = [PurePosixPath(name).parent.name for name in names]
    labels = None
    if all(classes) and len(set(classes)) > 1:
        labels = Labels.from_names(classes, "the class folders in the archive")
    source = tar_source((str(path),), [(0, member) for member in found])
    return ImageSet("a tar of images", str(path), source, names, labels)


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
    if head[:2] == b"\x1f\x8b" or head[:3] == b"BZh" or head == b"\xfd7zX":
        return f"{path} is compressed, so its images cannot be read in place; decompress it first"
    return f"{path} is not a whole tar archive; copy or download it again"
