"""McNemar's test: two models on the same images, image by image."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from s2mlp_cli.compare.quantities import TOP1
from s2mlp_cli.errors import RecordError, printable
from s2mlp_cli.records.base import Environment, Record, changed
from s2mlp_cli.records.compare import ComparedRow, CompareRecord, Judgement, Source
from s2mlp_cli.records.predictions import Prediction, load_predictions
from s2mlp_cli.records.validate import ValidateRecord, ValidateResult
from s2mlp_cli.statistics import mcnemar

Rows = tuple[ComparedRow, ...]

# A smaller p-value calls one model better: the same level as the 95 % of all intervals.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Tally:
    """Two models on the same images.

    Attributes:
        images: that both could decode.
        both, only_first, only_second, neither: how many of them which model has right.
        p: how probable a difference as large is if both models are equally good.
    """

    images: int
    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def compare_prediction_files(first: Path, last: Path, here: Environment) -> CompareRecord:
    """Return what McNemar's test says of two files of ``s2mlp validate --predictions``.

    Args:
        first: one file.
        last: the file that is judged against it.
        here: where the test is computed; its result depends on none of this.

    Raises:
        RecordError: a file holds no predictions, or they are not about the same images.
    """
    found = compare_predictions(first, last)
    row = f"{found.images} images that both decoded"
    top1 = ComparedRow(
        row=row,
        quantity=TOP1,
        unit="share",
        values=tuple(
            (found.both + only) / found.images for only in (found.only_first, found.only_second)
        ),
        verdict="undecided",
    )
    return CompareRecord.new(
        command=("s2mlp", "compare", str(first), str(last)),
        environment=here,
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


def _kept(paths: Sequence[Path], results: Sequence[ValidateResult]) -> Tally:
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


def compare_predictions(first: Path, second: Path) -> Tally:
    """Compare two files of predictions on the same images.

    Raises:
        RecordError: a file is none, or they are not about the same images and labels.
    """
    one, other = (_by_name(load_predictions(path)) for path in (first, second))
    shared = [(one[name], other[name]) for name in one if name in other]
    if len(shared) < max(len(one), len(other)) or any(a.label != b.label for a, b in shared):
        raise RecordError(
            f"{first} and {second} are not about the same images and labels; validate both on the "
            "same data"
        )
    pairs = [(a.correct1, b.correct1) for a, b in shared if not (a.broken or b.broken)]
    if not pairs:
        raise RecordError(f"{first} and {second} share no decoded image; validate both again")
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return Tally(
        images=len(pairs),
        both=pairs.count((True, True)),
        only_first=only_first,
        only_second=only_second,
        neither=pairs.count((False, False)),
        p=mcnemar(only_first, only_second),
    )


def _by_name(rows: list[Prediction]) -> dict[tuple[str, int], Prediction]:
    """Return the rows by name and occurrence: shards may repeat a name, and each is an image."""
    seen: Counter[str] = Counter()
    named: dict[tuple[str, int], Prediction] = {}
    for row in rows:
        named[row.name, seen[row.name]] = row
        seen[row.name] += 1
    return named


def _file(record: Path, named: str) -> Path:
    """Return the file of predictions that a record names, where it was or beside the record.

    A record has names as text; on the disk they may be other bytes.
    """
    beside = Path(record).parent
    same_text = (each for each in beside.iterdir() if printable(each.name) == Path(named).name)
    places = (Path(named), beside / Path(named).name, *same_text)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise RecordError(f"{named}, the predictions of {record}, is not there; put it beside it")
    return found


def _tested(top1: ComparedRow, found: Tally) -> Rows:
    """Return a row of top-1 with the test's verdict, and the counts that the test is about."""
    verdict = _verdict(found)
    only = ComparedRow(
        row=top1.row,
        quantity="right here only",
        unit="1",
        values=(found.only_first, found.only_second),
        verdict=verdict,
    )
    return changed(top1, p_value=found.p, verdict=verdict), only


def _verdict(found: Tally) -> Judgement:
    if found.p >= SIGNIFICANT:
        return "undecided"
    return "better" if found.only_second > found.only_first else "worse"
