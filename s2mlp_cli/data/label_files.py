"""Label files beside images that do not carry their classes: CSV, Kaggle's CSV, the devkit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from s2mlp_cli.data.devkit import ARCHIVE, devkit_labels
from s2mlp_cli.data.images import ImageSet, base_name
from s2mlp_cli.data.labels import TABLES, Labels, class_number
from s2mlp_cli.data.tars import is_archive
from s2mlp_cli.errors import DataError

# The label files that are found by themselves beside the images, in this order.
KNOWN_NAMES = (ARCHIVE, *TABLES)

_DEVKIT = "the devkit"

_HEADER = frozenset({"file", "filename", "file_name", "image", "path", "name", "id"})


def _stem(name: str) -> str:
    return PurePosixPath(base_name(name)).stem


# The ways in which a label file may write the name of an image: whole, last part, no ending.
_VIEWS: tuple[Callable[[str], str], ...] = (str, base_name, _stem)


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
    entries: dict[str, str | int]

    def match(self, names: Sequence[str], partial: bool = False) -> Labels:
        """Return the labels of the images called ``names``.

        Raises:
            DataError: an image has no label, or a label has no image unless ``partial``.
        """
        view = max(_VIEWS, key=lambda view: len(self._view(view).keys() & set(map(view, names))))
        entries = self._view(view)
        keys = [view(name) for name in names]
        missing = [name for name, key in zip(names, keys, strict=True) if key not in entries]
        if len(missing) == len(names):
            raise DataError(
                f"{self.path} labels other files: none of its {len(entries)} names is among the "
                f"{len(names)} images (it has '{next(iter(self.entries))}', they have "
                f"'{names[0]}'); give the labels of these images"
            )
        if missing:
            raise DataError(
                f"{self.path} has no label for {len(missing)} of the {len(names)} images, the "
                f"first is '{missing[0]}'; give a label for each image"
            )
        absent = min(entries.keys() - set(keys), default=None)
        if absent is not None and not partial:
            raise DataError(
                f"there are {len(names)} images, fewer than the {len(entries)} labels of "
                f"{self.path} (the first without an image is '{absent}'); restore the images, or "
                "pass --partial to validate on those there are"
            )
        values = [entries[key] for key in keys]
        return Labels.from_values(values, f"{self.form} {self.path}")

    def _view(self, view: Callable[[str], str]) -> dict[str, str | int]:
        return {view(name): value for name, value in self.entries.items()}


def read_label_file(path: Path) -> LabelFile:
    """Recognise and read a label file by its name and content.

    Raises:
        DataError: it is missing, of no known form, or one of its rows is wrong.
    """
    if not path.is_file():
        raise DataError(f"there is no label file {path}; check the path given with --labels")
    if is_archive(path):
        return LabelFile(path, _DEVKIT, devkit_labels(path))
    with open(path, "rb") as stream:
        return read_table(path, stream)


def read_table(path: Path, stream: BinaryIO) -> LabelFile:
    """Read a table of labels that lies at ``path``, or would if its archive were a folder.

    Raises:
        DataError: it is of no known form, or one of its rows is wrong.
    """
    rows = list(_rows(path, stream))
    if rows and [cell.strip() for cell in rows[0][1]] == ["ImageId", "PredictionString"]:
        return LabelFile(path, "Kaggle's solution file", _kaggle(path, rows[1:]))
    if rows and rows[0][1][0].strip().lower() in _HEADER:
        rows = rows[1:]
    if not rows:
        raise DataError(f"{path} has no labels; write one line 'file,label' for each image")
    return LabelFile(path, "the CSV", _file_and_label(path, rows))


def with_labels(images: ImageSet, label_file: LabelFile, partial: bool = False) -> ImageSet:
    """Return ``images`` with the labels of ``label_file``.

    Raises:
        DataError: they do not fit each other.
    """
    labels = label_file.match(images.names, partial)
    devkit = label_file.path if label_file.form == _DEVKIT else images.devkit
    return replace(images, labels=labels, devkit=devkit)


def _rows(path: Path, stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of the lines that are not empty."""
    try:
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} is neither the devkit archive nor a CSV of 'file,label' ({error}); give one "
            "of them with --labels"
        ) from error


def _file_and_label(path: Path, rows: list[tuple[int, list[str]]]) -> dict[str, str | int]:
    """Read rows of ``file,label``: all labels whole numbers, or all names of classes."""
    numbers = len(rows[0][1]) == 2 and rows[0][1][1].strip().isdecimal()
    entries: dict[str, str | int] = {}
    for line, cells in rows:
        name, label = _two_cells(path, line, cells)
        try:
            _add(entries, path, line, name, class_number(label) if numbers else label)
        except ValueError as error:
            raise DataError(
                f"{path}, line {line}: the label {error}, as those before it are; correct the row"
            ) from error
    return entries


def _kaggle(path: Path, rows: list[tuple[int, list[str]]]) -> dict[str, str | int]:
    """Read rows of ``ImageId,"synset x y x y ..."``: the first word is the class."""
    entries: dict[str, str | int] = {}
    for line, cells in rows:
        name, boxes = _two_cells(path, line, cells)
        _add(entries, path, line, name, boxes.split()[0])
    return entries


def _two_cells(path: Path, line: int, cells: list[str]) -> tuple[str, str]:
    cells = [cell.strip() for cell in cells]
    if len(cells) != 2 or not all(cells):
        raise DataError(
            f"{path}, line {line}: expected 'file,label' but found '{','.join(cells)}'; correct "
            "the row"
        )
    return cells[0], cells[1]


def _add(entries: dict[str, str | int], path: Path, line: int, name: str, value: str | int) -> None:
    if name in entries:
        raise DataError(f"{path}, line {line}: '{name}' has a label already; remove one of them")
    entries[name] = value
