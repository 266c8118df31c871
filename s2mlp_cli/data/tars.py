"""Images inside uncompressed tar archives, read by their offsets; nothing is unpacked."""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

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

# What a damaged archive raises: odd numbers, sizes beyond all memory, headers without end.
BROKEN_TAR = (tarfile.TarError, ValueError, OverflowError, RecursionError, MemoryError)

# How compressed files begin.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX")

# Bytes that are searched at a time for another archive behind the end of one.
_STEP = 2**20


class TarSource(ArchiveSource):
    """Reads members of tars: of each (offset, bytes)."""

    def read(self, index: int) -> bytes:
        archive, offset, size = map(int, self.table[index])
        return read_at(self.places[archive], offset, size)

    def head(self, index: int) -> bytes:
        archive, offset, size = map(int, self.table[index])
        return read_at(self.places[archive], offset, min(size, HEAD))


def read_tar(path: Path, reading: Reading) -> Archive:
    """Return what an uncompressed archive contains, reading headers only.

    Raises:
        DataError: it is compressed, no archive, cut short, or has a link to an image that it lacks.
    """
    return unpacked(path, TarSource, _entries(path, reading), reading)


def _entries(path: Path, reading: Reading) -> Iterator[tuple[str, Member | str]]:
    """Yield (name, place or target of the link) of what is a file or a link.

    Archives that were joined with ``cat`` are read as one.
    """
    length, joined = path.stat().st_size, 0
    start: int | None = 0
    try:
        with open(path, "rb") as stream:
            while start is not None:
                stream.seek(start)
                if joined and not _begins_a_tar(stream.read(tarfile.BLOCKSIZE)):
                    rest = f"{length - start:,} bytes behind its end are not read"
                    reading.remark(f"{path.name}: {rest}")
                    return
                joined += 1
                end = yield from _one_archive(path, stream, start, length)
                start = _next_content(path, end)
    except BROKEN_TAR as error:
        raise DataError(
            f"{path} is compressed, so its images cannot be read in place; decompress it first"
            if _head(path).startswith(_COMPRESSED)
            else f"{path} is not a whole tar archive; copy or download it again"
        ) from error
    if joined > 1:
        reading.remark(
            f"{path.name}: it is {joined} archives joined to one, and all of them are read"
        )


def _one_archive(
    path: Path, stream: BinaryIO, start: int, length: int
) -> Generator[tuple[str, Member | str], None, int]:
    """Yield what one of the joined archives contains, and return where it ends."""
    stream.seek(start)
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for entry in archive:
            if entry.size < 0:  # the next header would be before this one
                raise tarfile.TarError
            name = unpacked_name(entry.name)
            if entry.isreg():
                if entry.offset_data + entry.size > length:
                    raise _cut_short(path, f"inside {entry.name}")
                yield name, (entry.offset_data, entry.size)
            elif entry.issym():
                yield name, link_target(name, entry.linkname)
            elif entry.islnk():
                yield name, unpacked_name(entry.linkname)
        end = archive.offset
    stream.seek(end)
    mark = stream.read(2 * tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE or mark.strip(b"\0"):
        raise _cut_short(path, "without its end mark")
    return end


def _cut_short(path: Path, where: str) -> DataError:
    return DataError(f"the archive {path} is cut short: it ends {where}; copy or download it again")


def _next_content(path: Path, offset: int) -> int | None:
    """Return the first block from ``offset`` on that is not empty; None if there is none."""
    with open(path, "rb") as stream:
        stream.seek(offset)
        while content := stream.read(_STEP):
            zeros = len(content) - len(content.lstrip(b"\0"))
            if zeros < len(content):
                return offset + zeros - (offset + zeros) % tarfile.BLOCKSIZE
            offset += len(content)
    return None


def _begins_a_tar(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except BROKEN_TAR:
        return False
    return True


def is_archive(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is a tar or compressed; nothing of it is unpacked."""
    head = _head(path)
    return head.startswith(_COMPRESSED) or head[257:262] == b"ustar"


def _head(path: str | Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(tarfile.BLOCKSIZE)
