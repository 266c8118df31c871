"""Images inside a zip archive, as Kaggle gives ImageNet; nothing is unpacked.

`zipfile` reads the central directory, once. Images are read by their offsets: a worker that opened
the archive with `zipfile` would read the directory again, and ImageNet's names two million files.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2mlp_cli.data.archives import Archive, images_of, read_at, unpacked_name
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.errors import DataError

# What a damaged directory raises.
_BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,  # zipfile's word for a version that it does not know
    ValueError,
    OverflowError,
    MemoryError,
    struct.error,
)

# What stands before a member: a mark, and the lengths of the name and of the extra field.
_HEADER = struct.Struct("<4s22xHH")

_MARK = b"PK\x03\x04"

# Bytes that a member may unpack to: Pillow decodes no more pixels, at three bytes each.
_LARGEST = 2**28

# Stands for the compression of a member that needs a password.
_ENCRYPTED = -1


@dataclass(frozen=True)
class ZipSource:
    """Reads members of one archive by their places.

    Attributes:
        archive: its path.
        table: (images, 5) of each its offset, its bytes in the archive and unpacked, its CRC-32 and
            its compression.
    """

    archive: str
    table: IntArray

    @property
    def places(self) -> tuple[str, ...]:
        """The archive."""
        return (self.archive,)

    def read(self, index: int) -> bytes:
        """Return the bytes of image ``index``, unpacked and checked."""
        offset, packed, size, checksum, compression = map(int, self.table[index])
        if compression == _ENCRYPTED:
            raise OSError("it is encrypted")
        if compression not in _UNPACK:
            raise OSError(f"it is compressed by method {compression}, neither stored nor deflated")
        if size > _LARGEST:
            raise OSError(f"it unpacks to more than {_LARGEST:,} bytes")
        mark, name, extra = _HEADER.unpack(read_at(self.archive, offset, _HEADER.size))
        if mark != _MARK:
            raise OSError("the archive's directory names a place where no member begins")
        content = read_at(self.archive, offset + _HEADER.size + name + extra, packed)
        unpacked = _UNPACK[compression](content, size)
        if len(unpacked) != size or zlib.crc32(unpacked) != checksum:
            raise OSError("its bytes do not have the checksum of the archive's directory")
        return unpacked


def is_zip(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is a zip."""
    with open(path, "rb") as stream:
        return stream.read(len(_MARK)) == _MARK


def zip_of_images(path: Path) -> ImageSet:
    """Read one archive of images, in class folders or flat, sorted by name.

    Raises:
        DataError: its directory cannot be read or names no image.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    repeated: dict[str, None] = {}
    for entry in _entries(path):
        name = unpacked_name(entry.filename)
        if name in members:
            repeated[name] = None
        members[name] = entry

    def source(entries: list[zipfile.ZipInfo]) -> ZipSource:
        return ZipSource(str(path), np.asarray([_row(e) for e in entries], np.int64))

    return images_of(Archive(members, tuple(repeated)), path, "a zip of images", source)


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return the files that the directory names, each within the archive."""
    length = os.path.getsize(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.filename.endswith("/")]
        for entry in entries:
            if not 0 <= entry.header_offset <= length - entry.compress_size:
                raise zipfile.BadZipFile(f"{entry.filename} does not lie within it")
    except _BROKEN as error:
        raise DataError(
            f"{path} is not a whole zip archive ({error}); copy or download it again"
        ) from error
    return entries


def _row(entry: zipfile.ZipInfo) -> tuple[int, ...]:
    """Return an entry's row of a source's table."""
    compression = _ENCRYPTED if entry.flag_bits & 1 else entry.compress_type
    size = min(entry.file_size, _LARGEST + 1)  # what a directory may claim fits no integer
    return entry.header_offset, entry.compress_size, size, entry.CRC, compression


def _stored(content: bytes, _: int) -> bytes:
    return content


def _inflated(content: bytes, size: int) -> bytes:
    """Unpack to ``size`` bytes; one more where there are more, never all that it swells to."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
    except zlib.error as error:
        raise OSError(f"its compressed bytes are damaged: {error}") from error


# compression -> (packed bytes, bytes unpacked) to the unpacked bytes.
_UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: _stored,
    zipfile.ZIP_DEFLATED: _inflated,
}
