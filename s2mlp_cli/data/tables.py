"""Tables of files and labels: whatever separates the columns, under any header or none."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic_core import from_json

from s2mlp_cli.data.labels import class_number, class_of
from s2mlp_cli.data.names import ending
from s2mlp_cli.data.splits import Reading
from s2mlp_cli.errors import DataError

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


def read_table(
    path: Path, stream: BinaryIO, fit: Fit, reading: Reading
) -> tuple[str, dict[str, str | int]]:
    """Read a table of labels at ``path``, or that would be there if its archive were a folder.

    Columns may be separated by commas, semicolons, tabs or blanks, under any header or none.

    Args:
        path: the table.
        stream: its content.
        fit: tells how well a cell names an image.
        reading: chooses among splits, and keeps the notes.

    Returns:
        What it was recognised as, and name -> class.

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
    return form, _entries(path, cells)


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
    """Yield (line number, cells) of the lines that are not empty.

    Where blanks separate, only the last word of a name with blanks in it is the class.
    """
    lines = text.splitlines()
    counts = {mark: sum(mark in line.strip() for line in lines) for mark in "\t;,"}
    if not any(counts.values()):
        for number, line in enumerate(lines, 1):
            words = line.split()
            is_box = len(words) == 6 and all(word.isdecimal() for word in words[2:])
            if words:
                yield number, words if is_box or len(words) < 3 else line.strip().rsplit(None, 1)
        return
    mark = max(counts, key=lambda each: counts[each])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    for row in reader:
        cells = [cell.strip() for cell in row]
        while len(cells) > 1 and not cells[-1]:
            cells.pop()
        if any(cells):
            yield reader.line_num, cells


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
    chosen = reading.choose(path, dict.fromkeys(cells[at] for _, cells in rows))
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
        return from_json(written)
    except ValueError:
        return written
