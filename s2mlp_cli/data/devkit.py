"""The labels in ``ILSVRC2012_devkit_t12.tar.gz``, read without unpacking the archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2mlp_cli.data.matfile import read_struct
from s2mlp_cli.data.tars import BROKEN_TAR
from s2mlp_cli.errors import DataError

# The name under which it is published.
ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"

_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"

# Bytes that the archive may unpack to: ten times what it does.
_LARGEST = 64 * 2**20

# How a compressed file begins -> what opens it.
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


def devkit_labels(path: Path) -> dict[str, str | int]:
    """Return the synset of each validation image, by the stem of its name.

    Line i of the ground truth is the devkit's own number of the class of image i; ``meta.mat``
    says which synset bears that number. It is not the sorted order.

    Raises:
        DataError: the archive lacks one of the two files, is damaged, or they do not fit.
    """
    files = _read(path, (_GROUND_TRUTH, _META))
    numbered = {str(number): synset for number, synset in _synsets(path, files[_META]).items()}
    entries: dict[str, str | int] = {}
    for line, text in enumerate(files[_GROUND_TRUTH].decode("ascii", "replace").split(), 1):
        if text not in numbered:
            raise DataError(
                f"{path}, {_GROUND_TRUTH}, line {line}: '{text}' is not a class in its {_META}; "
                "download the devkit again"
            )
        entries[f"ILSVRC2012_val_{line:08d}"] = numbered[text]
    return entries


def devkit_order(path: Path) -> tuple[str, ...]:
    """Return the synsets that images have, in the order of the devkit's own numbers.

    Raises:
        DataError: it is not the devkit, or is damaged.
    """
    synsets = _synsets(path, _read(path, (_META,))[_META])
    return tuple(synsets[number] for number in sorted(synsets))


def _synsets(path: Path, meta: bytes) -> dict[int, str]:
    """Return number -> synset for the classes without children: those that images have."""
    try:
        table = read_struct(meta, "synsets")
        rows = zip(table["ILSVRC2012_ID"], table["WNID"], table["num_children"], strict=True)
        return {
            int(number): str(synset) for number, synset, children in rows if float(children) == 0
        }
    except (KeyError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path}: {_META} is not the devkit's table of synsets ({error}); download the devkit "
            "again"
        ) from error


def _read(path: Path, wanted: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(path)), mode="r:") as archive:
            for entry in archive:
                name = entry.name.rpartition("/")[2]
                stream = archive.extractfile(entry) if name in wanted else None
                if stream is not None:
                    found[name] = stream.read()
    except (*BROKEN_TAR, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"the devkit {path} cannot be read ({error}); download it again") from error
    for name in wanted:
        if name not in found:
            raise DataError(
                f"{path} does not contain {name}, so it is not the devkit of ILSVRC2012; give "
                f"{ARCHIVE}"
            )
    return found


def _unpacked(path: Path) -> bytes:
    """Return the archive without its compression, unless that is far larger than the devkit."""
    with open(path, "rb") as stream:
        head = stream.read(6)
    opener = next((each for mark, each in _OPENERS.items() if head.startswith(mark)), open)
    with opener(path, "rb") as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise DataError(
            f"{path} contains over {_LARGEST:,} bytes, so it is not the devkit of ILSVRC2012; give "
            f"{ARCHIVE}"
        )
    return content
