"""Images inside uncompressed tar archives, read by their offsets; nothing is unpacked.

In the tars of a WebDataset ``key.jpg`` and ``key.cls`` (or ``key.json``) are beside each other.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2mlp_cli.data.archives import (
    Archive,
    images_of,
    link_target,
    read_at,
    unpacked,
    unpacked_name,
)
from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray, Labels, class_number
from s2mlp_cli.data.layout import all_images
from s2mlp_cli.data.names import HEAD, is_plain
from s2mlp_cli.data.splits import Reading
from s2mlp_cli.errors import DataError

# What a damaged archive raises: odd numbers, sizes beyond all memory, headers without end.
BROKEN_TAR = (tarfile.TarError, ValueError, OverflowError, RecursionError, MemoryError)

# How compressed files begin.
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zX")

# The endings of members that say the class of an image; the first goes before the second.
_LABEL_ENDINGS = ("cls", "json")

# Bytes that are searched at a time for another archive behind the end of one.
_STEP = 2**20


class Member(NamedTuple):
    """One regular file of an archive: where its bytes are."""

    offset: int
    size: int


@dataclass(frozen=True)
class TarSource:
    """Reads members of one or more archives by archive, offset and size.

    Attributes:
        archives: the paths of the archives.
        archive: (images,) which archive has the image.
        offset, size: (images,) where its bytes begin in it, and how many they are.
    """

    archives: tuple[str, ...]
    archive: IntArray
    offset: IntArray
    size: IntArray

    @property
    def places(self) -> tuple[str, ...]:
        return self.archives

    def read(self, index: int) -> bytes:
        archive = self.archives[int(self.archive[index])]
        return read_at(archive, int(self.offset[index]), int(self.size[index]))


def tar_source(archives: tuple[str, ...], places: list[tuple[int, Member]]) -> TarSource:
    """Make a source from (archive, member) pairs, kept as arrays so that it stays small."""
    table = np.asarray([(a, m.offset, m.size) for a, m in places], np.int64).reshape(-1, 3)
    return TarSource(archives, table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())


def tar_images(files: list[Path], path: Path, reading: Reading) -> ImageSet:
    """Read archives: the shards of a WebDataset, or one of class folders or flat.

    Raises:
        DataError: one cannot be read, a sample lacks its label, or there are several others.
    """
    first = read_tar(files[0])
    if _is_webdataset(first):
        return _webdataset(first, files, path, reading)
    if len(files) > 1:
        raise several_archives(files, path)

    def source(members: list[Member]) -> TarSource:
        return tar_source((str(files[0]),), [(0, member) for member in members])

    return images_of(first, "a tar of images", source, lambda m: _head(files[0], m), reading)


def several_archives(files: list[Path], path: Path) -> DataError:
    """Return why archives that carry no labels of their own are not read together."""
    return DataError(
        f"{path} has {len(files)} archives without labels in them (the first is "
        f"{files[0].name}); give the one archive of the validation images"
    )


def _head(path: Path, member: Member) -> bytes:
    return read_at(str(path), member.offset, min(member.size, HEAD))


def read_tar(path: Path) -> Archive[Member]:
    """Return what an uncompressed archive contains, reading headers only.

    Raises:
        DataError: it is compressed, no archive, cut short, or has a link to an image that it lacks.
    """
    files: dict[str, Member] = {}
    links: dict[str, str] = {}
    repeated: dict[str, None] = {}
    notes: list[str] = []
    for entry in _entries(path, notes):
        name = unpacked_name(entry.name)
        if not (entry.isreg() or entry.islnk() or entry.issym()):
            continue
        if name in files or name in links:
            repeated[name] = None
        files.pop(name, None)
        links.pop(name, None)
        if entry.isreg():
            files[name] = Member(entry.offset_data, entry.size)
        elif entry.issym():
            links[name] = link_target(name, entry.linkname)
        else:
            links[name] = posixpath.normpath(entry.linkname)
    return unpacked(path, files, links, tuple(repeated), tuple(notes))


def _entries(path: Path, notes: list[str]) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a whole archive, and of those that were joined to it with ``cat``."""
    length = path.stat().st_size
    start: int | None = 0
    joined = 0
    try:
        with open(path, "rb") as stream:
            while start is not None:
                stream.seek(start)
                if joined and not _begins_a_tar(stream.read(tarfile.BLOCKSIZE)):
                    notes.append(f"{length - start:,} bytes behind its end are not read")
                    return
                stream.seek(start)
                joined += 1
                with tarfile.open(fileobj=stream, mode="r:") as archive:
                    for entry in archive:
                        _check_entry(path, entry, length)
                        yield entry
                    end = archive.offset
                _check_end(path, end, length)
                start = _next_content(path, end)
    except BROKEN_TAR as error:
        raise DataError(_unreadable(path)) from error
    if joined > 1:
        notes.append(f"it is {joined} archives joined to one, and all of them are read")


def _check_entry(path: Path, entry: tarfile.TarInfo, length: int) -> None:
    if entry.size < 0:  # the next header would be before this one
        raise DataError(_unreadable(path))
    if entry.isreg() and entry.offset_data + entry.size > length:
        raise DataError(_cut_short(path, entry.name))


def _check_end(path: Path, offset: int, length: int) -> None:
    """Check that zero blocks follow the last member: else something is gone."""
    end = read_at(str(path), offset, max(min(2 * tarfile.BLOCKSIZE, length - offset), 0))
    if len(end) < tarfile.BLOCKSIZE or end.strip(b"\0"):
        raise DataError(_cut_short(path, None))


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
    with open(path, "rb") as stream:
        head = stream.read(tarfile.BLOCKSIZE)
    return head.startswith(_COMPRESSED) or head[257:262] == b"ustar"


def _cut_short(path: Path, name: str | None) -> str:
    where = f"inside {name}" if name else "without its end mark"
    return f"the archive {path} is cut short: it ends {where}; copy or download it again"


def _unreadable(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(4)
    if head.startswith(_COMPRESSED):
        return f"{path} is compressed, so its images cannot be read in place; decompress it first"
    return f"{path} is not a whole tar archive; copy or download it again"


def _is_webdataset(archive: Archive[Member]) -> bool:
    """Tell whether labels are beside images of the same key."""
    labels = {_stem(name) for name in archive.members if _ending(name) in _LABEL_ENDINGS}
    others = (name for name in archive.members if not is_plain(name))
    return any(_stem(name) in labels or _key(name) in labels for name in others)


def _webdataset(
    first: Archive[Member], shards: list[Path], path: Path, reading: Reading
) -> ImageSet:
    """Read the samples of all shards in their order."""
    names: list[str] = []
    places: list[tuple[int, Member]] = []
    values: list[int] = []
    for number, shard in enumerate(shards):
        archive = read_tar(shard) if number else first
        archive.tell(reading)
        labels = _shard_labels(archive)
        found = _sample_images(archive, labels, reading)
        names += found
        places += ((number, archive.members[name]) for name in found)
        values += (labels[_stem(name)] for name in found)
    source = tar_source(tuple(map(str, shards)), places)
    form = f"{len(shards)} WebDataset shard{'s' * (len(shards) != 1)}"
    labelled = Labels.from_values(values, "the shards' classes")
    return ImageSet(form, str(path), source, tuple(names), labelled)


def _stem(name: str) -> str:
    """Return a name without what follows its last dot."""
    return name[: len(name) - len(_ending(name)) - 1] if _ending(name) else name


def _ending(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2] if "." in name.rpartition("/")[2] else ""


def _key(name: str) -> str:
    """Return a name up to the first dot of its last part, as WebDataset does."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _sample_images(
    archive: Archive[Member], labels: Collection[str], reading: Reading
) -> list[str]:
    """Return the images with the key of a label, in the order of the archive.

    ``key.seg.png`` is another thing of the sample than its image, as long as ``key.png`` is there.
    """
    root = archive.root(lambda member: _head(archive.path, member))
    found = set(all_images(root, archive.path, reading))
    images = [name for name in archive.members if name in found]
    samples: dict[str, str] = {}
    for name in images:
        if (other := samples.setdefault(_stem(name), name)) != name:
            raise DataError(
                f"the sample {_stem(name)} in {archive.path} has two images, {other} and {name}; "
                "keep one of them"
            )
    unlabelled = [name for name in images if _stem(name) not in labels]
    parts = [name for name in unlabelled if _key(name) != _stem(name) and _key(name) in labels]
    reading.pass_over(parts, "beside those of the samples, KEY.ENDING")
    if lost := sorted(set(unlabelled) - set(parts)):
        raise DataError(
            f"the sample {_stem(lost[0])} in {archive.path} has an image but no .cls and no .json "
            "with a 'label'; write its class number beside it"
        )
    return [name for name in images if _stem(name) in labels]


def _shard_labels(archive: Archive[Member]) -> dict[str, int]:
    """Return key -> class number; a .cls goes before a .json."""
    labels: dict[str, int] = {}
    with open(archive.path, "rb") as stream:
        for ending in reversed(_LABEL_ENDINGS):
            for name, member in archive.members.items():
                if _ending(name) == ending:
                    stream.seek(member.offset)
                    content = stream.read(member.size)
                    label = _parse(ending, content, f"{archive.path}: {name}")
                    if label is not None:
                        labels[_stem(name)] = label
    return labels


def _parse(ending: str, content: bytes, where: str) -> int | None:
    try:
        if ending == "cls":
            return class_number(content)
        label = json.loads(content).get("label")
        return None if label is None else class_number(label)
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{where} does not contain a class number ({error}); correct it") from error
