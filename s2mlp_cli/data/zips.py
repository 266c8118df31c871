"""Images inside a zip archive, as Kaggle gives ImageNet; nothing is unpacked.

`zipfile` reads the central directory, once. Images are read by their offsets: a worker that opened
the archive with `zipfile` would read the directory again, and ImageNet's names two million files.
"""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from s2mlp_cli.data.archives import (
    Archive,
    ArchiveSource,
    Member,
    link_target,
    read_at,
    unpacked,
    unpacked_name,
)
from s2mlp_cli.data.names import HEAD
from s2mlp_cli.data.splits import Reading
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

# What damaged bytes of a member raise.
_DAMAGED = (zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, OSError)

# What is before a member: a mark, and the lengths of the name and of the extra field.
_HEADER = struct.Struct("<4s22xHH")

_MARK = b"PK\x03\x04"

# Bytes that a member may unpack to: Pillow decodes no more pixels, at three bytes each.
_LARGEST = 2**29

# As many packed bytes give the first ones that are unpacked.
_BEGINNING = 4096

# In place of the compression of a member that needs a password.
_ENCRYPTED = -1

# The bit of the flags that says that a name is UTF-8.
_UTF8 = 0x800


class ZipSource(ArchiveSource):
    """Reads members of zips: of each (offset, packed bytes, bytes, CRC-32, compression)."""

    def read(self, index: int) -> bytes:
        _, _, packed, size, checksum, _ = map(int, self.table[index])
        if size > _LARGEST:
            raise OSError(f"it unpacks to more than {_LARGEST:,} bytes")
        unpacked = self._unpacked(index, packed, size)
        if len(unpacked) != size or zlib.crc32(unpacked) != checksum:
            raise OSError("its bytes do not have the checksum of the archive's directory")
        return unpacked

    def head(self, index: int) -> bytes:
        _, _, packed, size, *_ = map(int, self.table[index])
        return self._unpacked(index, min(packed, _BEGINNING), min(size, HEAD))[:HEAD]

    def _unpacked(self, index: int, packed: int, size: int) -> bytes:
        """Return up to ``size`` bytes, or one more, out of the first ``packed`` bytes of a file."""
        archive, offset, *_, compression = map(int, self.table[index])
        if compression == _ENCRYPTED:
            raise OSError("it is encrypted")
        if compression not in _UNPACK:
            raise OSError(f"it is compressed by method {compression}, which is not supported")
        path = self.places[archive]
        mark, name, extra = _HEADER.unpack(read_at(path, offset, _HEADER.size))
        if mark != _MARK:
            raise OSError("the archive's directory names a place where no member begins")
        content = read_at(path, offset + _HEADER.size + name + extra, packed)
        try:
            return _UNPACK[compression](content, size)
        except _DAMAGED as error:
            raise OSError(f"its compressed bytes are damaged: {error}") from error


def is_zip(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is a zip."""
    with open(path, "rb") as stream:
        return stream.read(len(_MARK)) == _MARK


def read_zip(path: Path, reading: Reading) -> Archive:
    """Return what an archive contains, by its directory.

    Raises:
        DataError: its directory cannot be read, or it has a link to an image that it lacks.
    """
    return unpacked(path, ZipSource, _files(path), reading)


def _files(path: Path) -> Iterator[tuple[str, Member | str]]:
    """Yield (name, place or target of the link), names as they were meant.

    Some tools of Windows write backslashes, others UTF-8 without its flag.
    """
    for entry in _entries(path):
        name = entry.filename
        if not entry.flag_bits & _UTF8:
            stored = name.encode("cp437", "replace")
            with suppress(UnicodeDecodeError):
                name = stored.decode("utf-8")
        name = unpacked_name(name.replace("\\", "/"))
        if not stat.S_ISLNK(entry.external_attr >> 16):
            yield name, _member(entry)
            continue
        try:  # what a link leads to is its content
            content = ZipSource.of(path, [_member(entry)]).read(0)
        except OSError as error:
            raise DataError(
                f"{path}: the link {name} cannot be read ({error}); write it again"
            ) from error
        yield name, link_target(name, os.fsdecode(content))


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return the files that the directory names, each within the archive."""
    length = os.path.getsize(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.filename.endswith(("/", "\\"))]
        for entry in entries:
            if not 0 <= entry.header_offset <= length - entry.compress_size:
                raise zipfile.BadZipFile(f"{entry.filename} is not within it")
    except _BROKEN as error:
        raise DataError(
            f"{path} is not a whole zip archive ({error}); copy or download it again"
        ) from error
    return entries


def _member(entry: zipfile.ZipInfo) -> Member:
    """Return where an entry is, for a :class:`ZipSource`."""
    compression = _ENCRYPTED if entry.flag_bits & 1 else entry.compress_type
    size = min(entry.file_size, _LARGEST + 1)  # what a directory may claim fits no integer
    return entry.header_offset, entry.compress_size, size, entry.CRC, compression


def _unlzma(content: bytes, size: int) -> bytes:
    """Unpack a stream that begins with a version, the length of its properties, and those."""
    properties, dictionary = struct.unpack_from("<BI", content, 4)
    filters = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": min(dictionary, max(size, 2**12)),
        "lc": properties % 9,
        "lp": properties // 9 % 5,
        "pb": properties // 45,
    }
    unpack = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[filters])
    return unpack.decompress(content[9:], size + 1)


# compression -> unpacks ``size`` bytes, one more where there are more, and never all.
_UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: lambda content, _: content,
    zipfile.ZIP_DEFLATED: lambda c, size: zlib.decompressobj(-15).decompress(c, size + 1),
    zipfile.ZIP_BZIP2: lambda c, size: bz2.BZ2Decompressor().decompress(c, size + 1),
    zipfile.ZIP_LZMA: _unlzma,
}
