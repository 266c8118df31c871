"""Two models on the same images, image by image: McNemar's test."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from s2mlp_cli._version import __version__
from s2mlp_cli.compare.quantities import TOP1
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import Environment, Record
from s2mlp_cli.records.compare import ComparedRow, CompareRecord, Source, Verdict
from s2mlp_cli.records.predictions import PredictionComparison, compare_predictions
from s2mlp_cli.records.validate import ValidateRecord, ValidateResult

Rows = tuple[ComparedRow, ...]

# A smaller p-value calls one model better: the same level as the 95 % of all intervals.
SIGNIFICANT = 0.05


def compare_prediction_files(first: Path, last: Path) -> CompareRecord:
    """Return what McNemar's test says of two files of ``s2mlp validate --predictions``.

    Raises:
        RecordError: a file holds no predictions, or they are not about the same images.
    """
    found = compare_predictions(first, last)
    row = f"{found.images} images that both decoded"
    top1 = ComparedRow(
        row=row,
        quantity=TOP1,
        unit="share",
        values=(found.top1_first, found.top1_second),
        verdict="undecided",
    )
    return CompareRecord.new(
        command=("s2mlp", "compare", str(first), str(last)),
        environment=_here(),
        compared="predictions",
        sources=tuple(Source(path=str(path), schema_name="predictions") for path in (first, last)),
        results=_tested(top1, found),
    )


def judge_image_by_image(
    rows: Rows, paths: Sequence[Path], records: Sequence[Record]
) -> tuple[Rows, tuple[str, ...]]:
    """Judge the top-1 of two validations by McNemar's test where both kept their predictions.

    Returns:
        The rows, and why there is no test although both records name a file for it.
    """
    results = [
        record.results[0]
        for record in records
        if isinstance(record, ValidateRecord) and len(record.results) == 1
    ]
    of_the_same_images = [row.quantity for row in rows].count(TOP1) == 1
    two = len(results) == len(records) == 2
    if not (two and of_the_same_images and all(result.predictions for result in results)):
        return rows, ()
    try:
        found = _kept(paths, results)
    except RecordError as error:
        return rows, (f"without McNemar's test: {error}",)
    judged = ([row] if row.quantity != TOP1 else _tested(row, found) for row in rows)
    return tuple(itertools.chain.from_iterable(judged)), ()


def _kept(paths: Sequence[Path], results: Sequence[ValidateResult]) -> PredictionComparison:
    """Compare the predictions of two results, which are known to be of the same images.

    Raises:
        RecordError: a file is gone, or was written again by another run.
    """
    first, last = (
        _file(path, str(each.predictions)) for path, each in zip(paths, results, strict=True)
    )
    found = compare_predictions(first, last)
    right = (found.both + found.only_first, found.both + found.only_second)
    for file, path, result, correct1 in zip((first, last), paths, results, right, strict=True):
        if (found.images, correct1) != (result.images, result.correct1):
            raise RecordError(
                f"{file} does not hold the predictions of {path}, but of another run; validate "
                "again with a --predictions of its own"
            )
    return found


def _file(record: Path, named: str) -> Path:
    """Return the file of predictions that a record names, where it was or beside the record."""
    places = (Path(named), Path(record).parent / Path(named).name)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise RecordError(f"{named}, the predictions of {record}, is not there; put it beside it")
    return found


def _tested(top1: ComparedRow, found: PredictionComparison) -> Rows:
    """Return a row of top-1 with the test's verdict, and the counts that the test is about."""
    verdict = _verdict(found)
    only = ComparedRow(
        row=top1.row,
        quantity="right here only",
        unit="1",
        values=(found.only_first, found.only_second),
        verdict=verdict,
    )
    return top1.model_copy(update={"p_value": found.p, "verdict": verdict}), only


def _verdict(found: PredictionComparison) -> Verdict:
    if found.p >= SIGNIFICANT:
        return "undecided"
    return "better" if found.only_second > found.only_first else "worse"


def _here() -> Environment:
    """Return where the test was computed; its result depends on none of this."""
    return Environment(
        s2mlp=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=platform.machine(),
        cpu_count=os.cpu_count() or 1,
        packages={},
    )
