"""McNemar's test: two models on the same images, image by image."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from s2mlp_cli.compare.quantities import TOP1
from s2mlp_cli.errors import RecordError, printable
from s2mlp_cli.records.base import Environment, Record, changed
from s2mlp_cli.records.compare import ComparedRow, CompareRecord, Judgement, Source
from s2mlp_cli.records.predictions import Prediction, load_predictions
from s2mlp_cli.records.validate import ValidateRecord, ValidateResult
from s2mlp_cli.statistics import mcnemar

Rows = tuple[ComparedRow, ...]

# For each image that both sides could decode, whether the first and the second are right.
Pairs = list[tuple[bool, bool]]

# A smaller p-value calls one model better: the same level as the 95 % of all intervals.
SIGNIFICANT = 0.05


def compare_prediction_files(first: Path, last: Path, here: Environment) -> CompareRecord:
    """Return what McNemar's test says of two files of ``s2mlp validate --predictions``.

    Args:
        first: one file.
        last: the file that is judged against it.
        here: where the test is computed; its result depends on none of this.

    Raises:
        RecordError: a file holds no predictions, or they are not about the same images.
    """
    pairs = compare_predictions(first, last)
    top1 = ComparedRow(
        row=f"{len(pairs)} images that both decoded",
        quantity=TOP1,
        unit="share",
        values=tuple(right / len(pairs) for right in _right(pairs)),
        verdict="undecided",
    )
    return CompareRecord.new(
        command=("s2mlp", "compare", str(first), str(last)),
        environment=here,
        compared="predictions",
        sources=tuple(Source(path=str(path), schema_name="predictions") for path in (first, last)),
        results=_tested(top1, pairs),
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
        pairs = _kept(paths, results)
    except RecordError as error:
        return rows, (f"without McNemar's test: {error}",)
    judged = ([row] if row.quantity != TOP1 else _tested(row, pairs) for row in rows)
    return tuple(itertools.chain.from_iterable(judged)), ()


def _kept(paths: Sequence[Path], results: Sequence[ValidateResult]) -> Pairs:
    """Compare the predictions of two results, which are known to be of the same images.

    Raises:
        RecordError: a file is gone, or was written again by another run.
    """
    first, last = (
        _file(path, str(each.predictions)) for path, each in zip(paths, results, strict=True)
    )
    pairs = compare_predictions(first, last)
    for file, path, result, right in zip((first, last), paths, results, _right(pairs), strict=True):
        if (len(pairs), right) != (result.images, result.correct1):
            raise RecordError(
                f"{file} does not hold the predictions of {path}, but of another run; validate "
                "again with a --predictions of its own"
            )
    return pairs


def compare_predictions(first: Path, second: Path) -> Pairs:
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
    return pairs


def _right(pairs: Pairs) -> list[int]:
    """Return how many images each side has right."""
    return [sum(side) for side in zip(*pairs, strict=True)]


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


def _tested(top1: ComparedRow, pairs: Pairs) -> Rows:
    """Return a row of top-1 with the test's verdict, and the counts that the test is about."""
    only = pairs.count((True, False)), pairs.count((False, True))
    p = mcnemar(*only)
    verdict: Judgement = "undecided"
    if p < SIGNIFICANT:
        verdict = "better" if only[1] > only[0] else "worse"
    counts = ComparedRow(
        row=top1.row, quantity="right here only", unit="1", values=only, verdict=verdict
    )
    return changed(top1, p_value=p, verdict=verdict), counts
