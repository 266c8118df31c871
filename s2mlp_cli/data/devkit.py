"""The labels in ``ILSVRC2012_devkit_t12.tar.gz``, read without unpacking the archive."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

from s2mlp_cli.data.matfile import read_struct
from s2mlp_cli.errors import DataError

ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"
"""The name under which it is published."""

_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"


def devkit_labels(path: Path) -> dict[str, str | int]:
    """Return the synset of each validation image, by the stem of its name.

    Line i of the ground truth is the devkit's own number of the class of image i; ``meta.mat``
    says which synset bears that number. It is not the sorted order.

    Raises:
        DataError: the archive lacks one of the two files, is damaged, or they do not fit.
    """
    files = _read(path, (_GROUND_TRUTH, _META))
    synsets = devkit_synsets(path, files[_META])
    entries: dict[str, str | int] = {}
    for line, text in enumerate(files[_GROUND_TRUTH].decode("ascii", "replace").split(), 1):
        number = int(text) if text.isdecimal() else 0
        if number not in synsets:
            raise DataError(
                f"{path}, {_GROUND_TRUTH}, line {line}: '{text}' is no class of its {_META}; "
                "download the devkit again"
            )
        entries[f"ILSVRC2012_val_{line:08d}"] = synsets[number]
    return entries


def devkit_order(path: Path) -> tuple[str, ...]:
    """Return the synsets that images have, in the order of the devkit's own numbers.

    Raises:
        DataError: the archive is none, or is damaged.
    """
    synsets = devkit_synsets(path, _read(path, (_META,))[_META])
    return tuple(synsets[number] for number in sorted(synsets))


def devkit_synsets(path: Path, meta: bytes) -> dict[int, str]:
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
        with tarfile.open(path) as archive:
            for entry in archive:
                name = entry.name.rpartition("/")[2]
                stream = archive.extractfile(entry) if name in wanted else None
                if stream is not None:
                    found[name] = stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"the devkit {path} cannot be read ({error}); download it again") from error
    for name in wanted:
        if name not in found:
            raise DataError(
                f"{path} holds no {name}, so it is not the devkit of ILSVRC2012; give {ARCHIVE}"
            )
    return found
