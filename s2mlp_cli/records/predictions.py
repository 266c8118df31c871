"""Predictions image by image, in CSV or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from s2mlp_cli.errors import RecordError, printable
from s2mlp_cli.files import write_atomically

ENDINGS = (".csv", ".parquet")


class Prediction(NamedTuple):
    """What a model said of one image; classes are -1 where it has fewer than five.

    Attributes:
        broken: the image could not be decoded; the other fields mean nothing then.
    """

    name: str
    label: int
    top1: int
    top2: int
    top3: int
    top4: int
    top5: int
    confidence: float
    loss: float
    correct1: bool
    correct5: bool
    broken: bool


def save_predictions(path: Path, rows: Iterable[Prediction]) -> None:
    """Write ``rows`` to ``path``, as CSV or Parquet by its ending, atomically.

    Raises:
        RecordError: its ending is not known.
        WriteError: the file cannot be written.
    """
    rows = [row._replace(name=printable(row.name)) for row in rows]
    content = _to_parquet(rows) if _is_parquet(path) else _to_csv(rows)
    write_atomically(path, content, "choose another --predictions")


def load_predictions(path: Path) -> list[Prediction]:
    """Read a file that :func:`save_predictions` wrote.

    Raises:
        RecordError: it is none.
    """
    read = _from_parquet if _is_parquet(path) else _from_csv
    try:
        rows = [tuple(map(row.get, Prediction._fields)) for row in read(path)]
        return TypeAdapter(list[Prediction]).validate_python(rows)
    except (OSError, ValueError) as error:
        why = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            row, column = map(int, first["loc"])
            why = f"row {row + 1}, {Prediction._fields[column]}: {first['msg']}"
        raise RecordError(
            f"{path} does not hold predictions ({why}); give a file of --predictions"
        ) from error


def _is_parquet(path: Path) -> bool:
    if path.suffix not in ENDINGS:
        raise RecordError(f"predictions are .csv or .parquet, not '{path.name}'; rename it")
    return path.suffix == ".parquet"


def _to_csv(rows: Iterable[Prediction]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Prediction._fields)
    for row in rows:
        writer.writerow([int(cell) if isinstance(cell, bool) else cell for cell in row])
    return stream.getvalue().encode()


def _from_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _to_parquet(rows: Sequence[Prediction]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows]), buffer)
    return buffer.getvalue()


def _from_parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    with open(path, "rb") as stream:
        found: list[dict[str, Any]] = pq.read_table(stream).to_pylist()
    return found
