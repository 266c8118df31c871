"""Parquet files as the Hugging Face set has them: a column of encoded images, one of labels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from s2mlp_cli.data.images import ImageSet
from s2mlp_cli.data.labels import IntArray, Labels, class_of
from s2mlp_cli.errors import DataError

_IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png")
_LABEL_COLUMNS = ("label", "labels", "cls", "target", "fine_label")


@dataclass
class ParquetSource:
    """Reads one row group at a time and keeps the last: sequential reading decodes each once.

    Attributes:
        places: the paths of the files.
        column: the dotted path of the column of bytes: ``"image.bytes"``.
        table: (groups, 3) of each row group the number of its file, its own number in that file,
            and the position of its first row.
    """

    places: tuple[str, ...]
    column: str
    table: IntArray
    _loaded: tuple[int, int, Any] = field(default=(0, -1, None), repr=False)

    def read(self, index: int) -> bytes:
        first = self.table[:, 2]
        position = int(np.searchsorted(first, index, side="right")) - 1
        value = self._rows(position)[index - int(first[position])].as_py()
        if value is None:
            raise OSError("the row has no image")
        return bytes(value)

    def _rows(self, position: int) -> Any:
        if self._loaded[:2] != (os.getpid(), position):
            try:
                file, group, _ = map(int, self.table[position])
                with open(self.places[file], "rb") as stream, pq.ParquetFile(stream) as parquet:
                    table = parquet.read_row_group(group, columns=[self.column], use_threads=False)
            except pa.ArrowException as error:
                raise OSError(f"the row group cannot be read: {error}") from error
            self._loaded = (os.getpid(), position, table.flatten().column(0))
        return self._loaded[2]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": (0, -1, None)}


def parquet_files(files: list[Path], path: Path) -> ImageSet:
    """Read the rows of all ``files`` in their order.

    Raises:
        DataError: a file is damaged, or lacks a column of images or labels.
    """
    groups: list[tuple[int, int, int]] = []
    names: list[str] = []
    labels: list[Any] = []
    column = ""
    for number, file in enumerate(files):
        with _opened(file) as parquet:
            column, label = _columns(parquet.schema_arrow, file)
            images, first = column.removesuffix(".bytes"), len(names)
            stored = {parquet.schema.column(i).path for i in range(len(parquet.schema))}
            has_names = f"{images}.path" in stored
            for group in range(parquet.num_row_groups):
                groups.append((number, group, len(names)))
                wanted = [label, f"{images}.path"] if has_names else [label]
                table = parquet.read_row_group(group, columns=wanted)
                labels += table[label].to_pylist()
                cells = table[images].to_pylist() if has_names else [None] * table.num_rows
                names += [
                    str((cell or {}).get("path") or f"{file.name}#{row}")
                    for row, cell in enumerate(cells, len(names) - first)
                ]
    if not names:
        raise DataError(f"{path} has no rows; give the files of the validation split")
    source = ParquetSource(tuple(map(str, files)), column, np.asarray(groups, np.int64))
    return ImageSet(
        f"{len(files)} Parquet file{'s' * (len(files) != 1)}",
        str(path),
        source,
        tuple(names),
        Labels.from_values(_classes(labels, path), "the label column"),
    )


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Yield an open file; whatever is damaged in it is found here or while it is read.

    Raises:
        DataError: it is damaged, or has more rows than bytes.
    """
    try:
        # opened here, since pyarrow takes no path that is not UTF-8
        with open(file, "rb") as stream, pq.ParquetFile(stream) as parquet:
            rows, size = parquet.metadata.num_rows, file.stat().st_size
            if rows > size:  # repeated values need no room, images do
                raise DataError(
                    f"{file} has {rows:,} rows in {size:,} bytes, which cannot be images; copy or "
                    "download it again"
                )
            yield parquet
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        raise DataError(
            f"{file} is not a whole Parquet file ({error}); copy or download it again"
        ) from error


def _columns(schema: pa.Schema, file: Path) -> tuple[str, str]:
    """Return the dotted path of the bytes of the images and the name of the label column."""
    label = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
    for name in (name for name in _IMAGE_COLUMNS if name in schema.names):
        column, kind = name, schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            column, kind = f"{name}.bytes", kind.field("bytes").type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        if label is not None and (is_binary or pa.types.is_null(kind)):
            return column, label
    raise DataError(
        f"{file} has the columns {', '.join(schema.names)}, but a column 'image' with encoded "
        "images and a column 'label' are needed; give such a file"
    )


def _classes(labels: list[Any], path: Path) -> list[int | str]:
    """Return the class of every row.

    Raises:
        DataError: a row has no label, or none that says a class.
    """
    classes = []
    for row, label in enumerate(labels):
        if label is None or label == -1:
            raise DataError(f"{path}: row {row} has no label ({label}); give the validation split")
        try:
            classes.append(class_of(label))
        except ValueError as error:
            raise DataError(
                f"{path}: row {row} has the label {error}; give a column of class numbers or names"
            ) from error
    return classes
