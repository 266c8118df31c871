"""Predictions image by image, in CSV or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

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


_KINDS: dict[str, type] = get_type_hints(Prediction)


def save_predictions(path: Path, rows: Iterable[Prediction]) -> None:
    """Write ``rows`` to ``path``, as CSV or Parquet by its ending, atomically.

    Raises:
        RecordError: its ending is not known.
        WriteError: the file cannot be written.
    """
    _check_ending(path)
    rows = [row._replace(name=printable(row.name)) for row in rows]
    content = _to_parquet(rows) if path.suffix == ".parquet" else _to_csv(rows)
    write_atomically(path, content, "choose another --predictions")


def load_predictions(path: Path) -> list[Prediction]:
    """Read a file that :func:`save_predictions` wrote.

    Raises:
        RecordError: it is none.
    """
    _check_ending(path)
    try:
        return _from_parquet(path) if path.suffix == ".parquet" else _from_csv(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{path} does not hold predictions ({error}); give a file of --predictions"
        ) from error


def _check_ending(path: Path) -> None:
    if path.suffix not in ENDINGS:
        raise RecordError(f"predictions are .csv or .parquet, not '{path.name}'; rename it")


def _to_csv(rows: Iterable[Prediction]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Prediction._fields)
    for row in rows:
        writer.writerow([int(cell) if isinstance(cell, bool) else cell for cell in row])
    return stream.getvalue().encode()


def _from_csv(path: Path) -> list[Prediction]:
    with open(path, newline="", encoding="utf-8") as stream:
        return [_prediction(row) for row in csv.DictReader(stream)]


def _to_parquet(rows: Iterable[Prediction]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: Sequence[Any] = list(zip(*rows, strict=True)) or [()] * len(Prediction._fields)
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(zip(Prediction._fields, columns, strict=True))), buffer)
    return buffer.getvalue()


def _from_parquet(path: Path) -> list[Prediction]:
    import pyarrow.parquet as pq

    with open(path, "rb") as stream:
        return [_prediction(row) for row in pq.read_table(stream).to_pylist()]


def _prediction(row: dict[str, Any]) -> Prediction:
    return Prediction(**{name: _cell(kind, row[name]) for name, kind in _KINDS.items()})


def _cell(kind: type, value: Any) -> Any:
    return bool(int(value)) if kind is bool else kind(value)
