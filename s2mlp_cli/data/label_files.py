"""Label files beside images that do not carry their classes: tables, Kaggle's CSV, the devkit."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from s2mlp_cli.data.devkit import ARCHIVE, devkit_labels
from s2mlp_cli.data.labels import TABLES, Labels, class_number, class_of
from s2mlp_cli.data.names import ending
from s2mlp_cli.data.splits import Reading
from s2mlp_cli.data.tars import is_archive
from s2mlp_cli.errors import DataError

# The label files that are found by themselves beside the images, in this order.
KNOWN_NAMES = (ARCHIVE, *TABLES)

DEVKIT = "the devkit"

# Words of a header over the images, the classes and the splits, in the order of preference.
_IMAGES = (
    "file", "filename", "file_name", "image", "image_id", "imageid", "image_name", "image_path",
    "img", "path", "filepath", "file_path", "name", "id",
)  # fmt: skip
_CLASSES = (
    "label", "labels", "class", "class_id", "target", "category", "category_id", "synset", "wnid",
    "cls", "predictionstring", "class_name", "label_name", "y",
)  # fmt: skip
_SPLITS = ("split", "subset", "partition")

_KAGGLE = ["imageid", "predictionstring"]

# What a header says over a column: letters, but no digits, dots or slashes as names of files have.
_WORDS = re.compile(r"[^\W\d]*(?:[ _#-]+[^\W\d]*)*")

# How well a cell names an image: 2 the name of its file, 1 that without its ending, 0 not at all.
Fit = Callable[[str], int]

_Rows = list[tuple[int, list[str]]]


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
        chosen = _Matches(self.path, self.entries, names).chosen
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


class _Matches:
    """Finds for each image the entry with the longest end of its path, all of one of the two.

    Folders that all images share, or all entries, need not agree: the set may have been moved.

    Attributes:
        chosen: image -> the name of its entry.
    """

    def __init__(self, path: Path, entries: Mapping[str, str | int], names: Sequence[str]) -> None:
        self.path, self.entries = path, entries
        parts = {name: _parts(name) for name in entries}
        shared = _shared_depth(parts.values())
        self.depth = {name: len(own) - shared for name, own in parts.items()}
        self.whole, self.stems = _by_ends(parts, stems=False), _by_ends(parts, stems=True)
        self.chosen: dict[str, str] = {}
        lengths: dict[str, int] = {}
        owner: dict[str, str] = {}
        images = {name: _parts(name) for name in names}
        shared = _shared_depth(images.values())
        for name, own in images.items():
            length, entry = self._longest(name, own, len(own) - shared)
            if entry is None or length < lengths.get(entry, 0):
                continue
            if length == lengths.get(entry):
                raise DataError(
                    f"{path}: the label of '{entry}' fits '{owner[entry]}' as well as '{name}'; "
                    "write the paths of the images"
                )
            if entry in owner:
                del self.chosen[owner[entry]]
            self.chosen[name], lengths[entry], owner[entry] = entry, length, name

    def _longest(self, name: str, parts: list[str], depth: int) -> tuple[int, str | None]:
        """Return how many parts agree, and the entry; 0 and None if none fits."""
        ends = (parts, self.whole), ([*parts[:-1], _stem(parts[-1])], self.stems)
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
        return 0, None


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")] or [name]


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def _shared_depth(paths: Iterable[list[str]]) -> int:
    """Return how many folders all paths begin with."""
    folders = [path[:-1] for path in paths]  # lists are compared part by part
    return len(os.path.commonprefix(folders))  # noqa: RUF071


def _by_ends(parts: Mapping[str, list[str]], stems: bool) -> dict[str, list[str]]:
    """Return end of a path -> the names that end so; as ``stems`` without the ending, too."""
    index = defaultdict(list)
    for name, own in parts.items():
        for last in {own[-1], _stem(own[-1])} if stems else {own[-1]}:
            for length in range(1, len(own) + 1):
                index["/".join([*own[-length:-1], last])].append(name)
    return index


def fit_of(names: Sequence[str]) -> Fit:
    """Return how well a cell names one of these images."""
    whole = {_parts(name)[-1] for name in names}
    stems = {_stem(last) for last in whole}

    def fit(cell: str) -> int:
        last = _parts(cell)[-1]
        return 2 if last in whole else int(last in stems or _stem(last) in stems)

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
        return read_table(path, stream, fit, reading)


def read_table(path: Path, stream: BinaryIO, fit: Fit, reading: Reading) -> LabelFile:
    """Read a table of labels at ``path``, or that would be there if its archive were a folder.

    Columns may be separated by commas, semicolons, tabs or blanks, under any header or none.

    Raises:
        DataError: it is of no known form, or one of its rows is wrong.
    """
    rows = _rows(path, stream)
    head = [cell.lower() for cell in rows[0][1]] if rows else []
    form = "Kaggle's solution file" if head == _KAGGLE else f"the {kind_of_table(path)}"
    column = _image_column(rows, head, fit)
    if rows and _is_header(rows, head, column, fit):
        if not set(head) & {*_IMAGES, *_CLASSES}:
            reading.remark(f"the first line of {path} is taken for a header: {', '.join(head)}")
        rows = rows[1:]
    else:
        head = []
    if not rows:
        raise DataError(f"{path} has no labels; write one line 'file,label' for each image")
    of_class = _class_column(path, rows, head, column)
    rows = _of_one_split(path, rows, head, column, reading)
    cells = [(line, cells[column], cells[of_class]) for line, cells in rows]
    if head and head[of_class] == "predictionstring":
        cells = [(line, name, boxes.partition(" ")[0]) for line, name, boxes in cells]
    return LabelFile(path, form, _entries(path, cells))


def kind_of_table(path: Path) -> str:
    """Return what a table is called."""
    return "CSV" if ending(path.name) == ".csv" else "table"


def _rows(path: Path, stream: BinaryIO) -> _Rows:
    """Return (line number, cells) of the lines that are not empty, all of one width."""
    content = stream.read()
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding, "surrogateescape")  # as names on a disk are read
        if "\0" in text:
            raise UnicodeError("it has bytes that are zero")
        rows = list(_cells(text))
    except (UnicodeError, csv.Error) as error:
        raise DataError(
            f"{path} is neither the devkit archive nor a table of files and labels ({error}); give "
            "one of them with --labels"
        ) from error
    for line, cells in rows:
        if len(cells) != max(len(rows[0][1]), 2):
            raise _wrong_row(path, line, cells)
    return rows


def _wrong_row(path: Path, line: int, cells: Sequence[str]) -> DataError:
    return DataError(
        f"{path}, line {line}: expected 'file,label' but found '{','.join(cells)}'; correct the row"
    )


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of the lines that are not empty."""
    lines = [line for line in text.splitlines() if line.strip()]
    counts = {mark: sum(mark in line for line in lines) for mark in "\t;,"}
    mark = max(counts, key=lambda each: counts[each]) if any(counts.values()) else " "
    if mark == " ":
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield number, _blank_separated(line)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    for row in reader:
        cells = [cell.strip() for cell in row]
        while len(cells) > 1 and not cells[-1]:
            cells.pop()
        if any(cells):
            yield reader.line_num, cells


def _blank_separated(line: str) -> list[str]:
    """Split at blanks; of a name with blanks in it only the last word is the class."""
    words = line.split()
    is_box = len(words) == 6 and all(word.isdecimal() for word in words[2:])
    return words if is_box or len(words) < 3 else line.strip().rsplit(None, 1)


def _image_column(rows: _Rows, head: list[str], fit: Fit) -> int:
    """Return the column that names images best; then the one that its header names so.

    Numbers after the first column are classes, though there may be images that are called so.
    """

    def worth(column: int) -> tuple[int, int, int]:
        known = head[column] in _IMAGES
        may_be = column == 0 or known or not all(_is_number(c[column]) for _, c in rows[1:] or rows)
        return may_be * sum(fit(cells[column]) for _, cells in rows), known, -column

    return max(range(len(head)), key=worth, default=0)


def _is_header(rows: _Rows, head: list[str], column: int, fit: Fit) -> bool:
    """Tell whether the first row is a header: it names no image, and has words or no number."""
    name = rows[0][1][column]
    if fit(name) < 2 and (head[column] in _IMAGES or set(head) & set(_CLASSES)):
        return True
    if fit(name):
        return False
    others = [cells for _, cells in rows[1:]]
    numbered = any(
        not _is_number(head[at]) and all(_is_number(cells[at]) for cells in others)
        for at in range(len(head)) if at != column
    )  # fmt: skip
    named = any(fit(cells[column]) for cells in others) and _WORDS.fullmatch(name) is not None
    return bool(others) and (numbered or named)


def _is_number(cell: str) -> bool:
    try:
        class_number(cell)
    except ValueError:
        return False
    return True


def _class_column(path: Path, rows: _Rows, head: list[str], images: int) -> int:
    """Return the column of the classes: the other one, or what the header says.

    Raises:
        DataError: there are several others, and no header tells.
    """
    others = [column for column in range(len(rows[0][1])) if column != images]
    if len(others) == 1:
        return others[0]
    named = [head.index(word) for word in _CLASSES if word in head and head.index(word) in others]
    if named:
        return named[0]
    is_box = all(len(c) == 6 and all(cell.isdecimal() for cell in c[2:]) for _, c in rows)
    if is_box and not head:  # val_annotations.txt: a box follows
        return 1
    raise DataError(
        f"{path} has {len(others) + 1} columns, and nothing tells which has the classes; name it "
        "'label' in the first line"
    )


def _of_one_split(path: Path, rows: _Rows, head: list[str], column: int, reading: Reading) -> _Rows:
    """Return the rows of the split that is read, where a column says the split."""
    at = next((head.index(word) for word in _SPLITS if word in head), None)
    if at is None or at == column:
        return rows
    chosen = reading.choose(path, dict.fromkeys((cells[at] for _, cells in rows), True))
    if chosen is None:
        return rows
    left = [cells[column] for _, cells in rows if cells[at] not in chosen]
    reading.pass_over(left, f"outside the split '{chosen[0]}' of {path.name}")
    return [row for row in rows if row[1][at] in chosen]


def _entries(path: Path, rows: list[tuple[int, str, str]]) -> dict[str, str | int]:
    """Return name -> class: all whole numbers if the first is one, else all names."""
    numbers = _is_number(rows[0][2])
    entries: dict[str, str | int] = {}
    for line, name, written in rows:
        if not (name and written):
            raise _wrong_row(path, line, (name, written))
        if name in entries:
            raise DataError(
                f"{path}, line {line}: '{name}' has a label already; remove one of them"
            )
        try:
            entries[name] = class_number(written) if numbers else class_of(_unquoted(written))
        except ValueError as error:
            before = ", as those before it are" if numbers else ""
            raise DataError(
                f"{path}, line {line}: the label {error}{before}; correct the row"
            ) from error
    return entries


def _unquoted(written: str) -> object:
    """Return the list that a cell such as ``[0, 1, 0]`` writes, or the text itself."""
    if not written.startswith("["):
        return written
    try:
        return json.loads(written)
    except ValueError:
        return written
