"""Label files beside images that do not carry their classes: tables, Kaggle's CSV, the devkit."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s2mlp_cli.data.devkit import ARCHIVE, devkit_labels
from s2mlp_cli.data.labels import TABLES, Labels
from s2mlp_cli.data.names import stem
from s2mlp_cli.data.splits import Reading
from s2mlp_cli.data.tables import Fit, read_table
from s2mlp_cli.data.tars import is_archive
from s2mlp_cli.errors import DataError

# The label files that are found by themselves beside the images, in this order.
KNOWN_NAMES = (ARCHIVE, *TABLES)

DEVKIT = "the devkit"


@dataclass(frozen=True)
class LabelFile:
    """The content of a label file.

    Attributes:
        path: the file.
        form: what it was recognised as.
        entries: name of an image, in one of the ways of writing it -> its class.
    """

    path: Path
    form: str
    entries: Mapping[str, str | int]

    def match(self, names: Sequence[str], partial: bool = False) -> Labels:
        """Return the labels of the images called ``names``: those of the longest path in common.

        Raises:
            DataError: an image has no label or several, or a label has no image unless
                ``partial``.
        """
        chosen = _matches(self.path, self.entries, names)
        missing = [name for name in names if name not in chosen]
        if len(missing) == len(names):
            raise DataError(
                f"{self.path} labels other files: none of its {len(self.entries)} names is among "
                f"the {len(names)} images (it has '{next(iter(self.entries))}', they have "
                f"'{names[0]}'); give the labels of these images"
            )
        if missing:
            raise DataError(
                f"{self.path} has no label for {len(missing)} of the {len(names)} images, the "
                f"first is '{missing[0]}'; give a label for each image"
            )
        absent = min(self.entries.keys() - set(chosen.values()), default=None)
        if absent is not None and not partial:
            raise DataError(
                f"there are {len(names)} images, fewer than the {len(self.entries)} labels of "
                f"{self.path} (the first without an image is '{absent}'); restore the images, or "
                "pass --partial to validate on those there are"
            )
        values = [self.entries[chosen[name]] for name in names]
        return Labels.from_values(values, f"{self.form} {self.path}")


def _matches(path: Path, entries: Mapping[str, str | int], names: Sequence[str]) -> dict[str, str]:
    """Return image -> the entry with the longest end of its path, all of one of the two.

    Folders that all images share, or all entries, need not agree: the set may have been moved.
    """
    index = _Index(path, entries)
    taken: dict[str, tuple[int, str]] = {}
    images = {name: _parts(name) for name in names}
    shared = _shared_depth(images.values())
    for name, own in images.items():
        length, entry = index.longest(name, own, len(own) - shared)
        known, other = taken.get(entry, (0, ""))
        if length and length == known:
            raise DataError(
                f"{path}: the label of '{entry}' fits '{other}' as well as '{name}'; write the "
                "paths of the images"
            )
        if length > known:
            taken[entry] = length, name
    return {name: entry for entry, (_, name) in taken.items()}


class _Index:
    """The entries of a label file at ``path``, by the ends of their paths."""

    def __init__(self, path: Path, entries: Mapping[str, str | int]) -> None:
        self.path, self.entries = path, entries
        parts = {name: _parts(name) for name in entries}
        shared = _shared_depth(parts.values())
        self.depth = {name: len(own) - shared for name, own in parts.items()}
        self.whole, self.stems = _by_ends(parts, stems=False), _by_ends(parts, stems=True)

    def longest(self, name: str, parts: list[str], depth: int) -> tuple[int, str]:
        """Return how many parts of an image's path agree, and with which entry; 0 if none fits."""
        ends = (parts, self.whole), ([*parts[:-1], stem(parts[-1])], self.stems)
        for own, index in ends:
            for length in range(len(own), 0, -1):
                fits = [
                    entry for entry in index.get("/".join(own[-length:]), ())
                    if length >= min(depth, self.depth[entry])
                ]  # fmt: skip
                if len({self.entries[entry] for entry in fits}) > 1:
                    raise DataError(
                        f"{self.path} has several labels for '{name}': those of '{fits[0]}' and "
                        f"'{fits[1]}'; write whole paths"
                    )
                if fits:
                    return length, fits[0]
        return 0, ""


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")] or [name]


def _shared_depth(paths: Iterable[list[str]]) -> int:
    """Return how many folders all paths begin with."""
    folders = [path[:-1] for path in paths]  # lists are compared part by part
    return len(os.path.commonprefix(folders))  # noqa: RUF071


def _by_ends(parts: Mapping[str, list[str]], stems: bool) -> dict[str, list[str]]:
    """Return end of a path -> the names that end so; as ``stems`` without the ending, too."""
    index = defaultdict(list)
    for name, own in parts.items():
        for last in {own[-1], stem(own[-1])} if stems else {own[-1]}:
            for length in range(1, len(own) + 1):
                index["/".join([*own[-length:-1], last])].append(name)
    return index


def fit_of(names: Sequence[str]) -> Fit:
    """Return how well a cell names one of these images."""
    whole = {_parts(name)[-1] for name in names}
    stems = {stem(last) for last in whole}

    def fit(cell: str) -> int:
        last = _parts(cell)[-1]
        return 2 if last in whole else int(last in stems or stem(last) in stems)

    return fit


def read_label_file(path: Path, fit: Fit, reading: Reading) -> LabelFile:
    """Recognise and read a label file by its name and content.

    Args:
        path: the file.
        fit: tells how well a cell names an image.
        reading: chooses among splits, and keeps the notes.

    Raises:
        DataError: it is missing, of no known form, or one of its rows is wrong.
    """
    if not path.is_file():
        raise DataError(f"there is no label file {path}; check the path given with --labels")
    if is_archive(path):
        return LabelFile(path, DEVKIT, devkit_labels(path))
    with open(path, "rb") as stream:
        return LabelFile(path, *read_table(path, stream, fit, reading))
