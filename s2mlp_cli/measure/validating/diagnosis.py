"""What a reader must know about an accuracy, above all about a low one."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2mlp_cli.data.devkit import ARCHIVE, devkit_order
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.transform import BROKEN, decode
from s2mlp_cli.errors import DataError
from s2mlp_cli.measure.validating.plan import Plan
from s2mlp_cli.measure.validating.score import Scored
from s2mlp_cli.measure.validating.table import SCORED, ImageTable
from s2mlp_cli.papers.published import published_for
from s2mlp_cli.records.validate import LabelOrder, Mistake, Published, ValidateResult
from s2mlp_cli.specs import ModelSpec

_DEVKIT = "the devkit's numbers"

_V1_HUNDRED_CLASSES = frozenset("456789")

# How many mistakes a record names, and how many pixels their thumbnails have at most.
_MISTAKES, _THUMBNAIL = 12, 96

# Top-1 is called far below the published one if its whole interval is lower by this much.
FAR_BELOW = 0.02


def published_accuracy(spec: ModelSpec, nearest: str | None = None) -> Published | None:
    """Return what a paper prints for this model on as many classes, or None.

    Where nothing is printed for ``spec`` by its name, the row of the ``nearest`` built-in is taken.
    v1's ablations were trained on 100 classes of ImageNet; everything else on all 1000.
    """
    for name in filter(None, (spec.name, nearest)):
        for paper, table, row in published_for(name):
            classes = 100 if paper.name == "v1" and table in _V1_HUNDRED_CLASSES else 1000
            if row.top1 is not None and classes == spec.classes:
                return Published(
                    model=name, paper=paper.source, row=row.row, top1=row.top1, top5=row.top5
                )
    return None


def find_label_orders(
    scored: Scored, classes: int, devkit: Path | None = None
) -> tuple[LabelOrder, ...]:
    """Return the top-1 where outputs, or labels, are in another order; none unless near chance.

    Args:
        scored: the images of a run.
        classes: outputs of the classifier.
        devkit: the archive that says how the devkit numbers the classes, if there is one.
    """
    images, targets, first = len(scored), scored.targets, scored.top[:, 0]
    if not images or scored.correct1.sum() / images >= max(3 / classes, 0.03):
        return ()
    found = {"sorted synsets": scored.correct1}
    # order -> (classes,) the number that each sorted class bears in it
    orders: dict[str, IntArray | None] = {
        "numbers sorted as text": string_sorted(classes),
        _DEVKIT: devkit_numbers(devkit, classes) if devkit else None,
    }
    for name, number in orders.items():
        if number is not None:
            found[f"outputs in {name}"] = first == number[targets]
            found[f"labels in {name}"] = (first >= 0) & (number[first] == targets)
    return tuple(
        LabelOrder(order=order, correct1=int(right.sum()), top1=float(right.mean()))
        for order, right in found.items()
    )


def string_sorted(classes: int) -> IntArray:
    """Return the place of each class number when numbers are sorted as text: 0, 1, 10, 100, ..."""
    place = np.empty(classes, np.int64)
    place[sorted(range(classes), key=str)] = np.arange(classes)
    return place


def devkit_numbers(devkit: Path, classes: int) -> IntArray | None:
    """Return the devkit's number, from 0, of each sorted synset: (classes,).

    None if the archive does not tell it: it is damaged, or about another number of classes.
    """
    try:
        synsets = devkit_order(devkit)
    except DataError:
        return None
    if len(synsets) != classes:
        return None
    return np.argsort(np.asarray(synsets))


def surest_mistakes(
    plan: Plan, table: ImageTable, names: Mapping[int, str], thumbnails: bool
) -> tuple[Mistake, ...]:
    """Return the wrong images with the highest probability of the predicted class."""
    predicted = table.top[:, 0]
    wrong = (table.state == SCORED) & (predicted >= 0) & (predicted != plan.targets)
    rows = np.flatnonzero(wrong)
    surest = rows[np.argsort(-table.confidence[rows], kind="stable")][:_MISTAKES]
    return tuple(
        Mistake(
            name=plan.names[row],
            label=int(plan.targets[row]),
            predicted=int(predicted[row]),
            label_name=names.get(int(plan.targets[row])),
            predicted_name=names.get(int(predicted[row])),
            confidence=float(table.confidence[row]),
            thumbnail=_thumbnail(plan, row) if thumbnails else None,
        )
        for row in surest.tolist()
    )


def _thumbnail(plan: Plan, row: int) -> str | None:
    """Return a small JPEG in base64; None if the image cannot be read any more."""
    try:
        content = plan.images.source.read(int(plan.positions[row]))
        pixels = decode(content, _small)
    except BROKEN:
        return None
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85)
    return base64.b64encode(stream.getvalue()).decode()


def _small(image: Image.Image) -> NDArray[np.uint8]:
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(image)


def remarks(result: ValidateResult, assumed: str | None = None) -> Iterator[str]:
    """Yield the sentences that belong to this result.

    Args:
        result: the scores.
        assumed: what does not tell how images are prepared, if anything.
    """
    outputs = result.spec["classes"]
    if assumed:
        own = result.preprocessing
        yield (
            f"{assumed} does not say how images are prepared: {own.input_size[0]}x"
            f"{own.input_size[1]}, crop {own.crop_pct:g}, {own.interpolation} and ImageNet's mean "
            "and std are assumed (see --input-size, --crop-pct, --interpolation, --mean, --std)"
        )
    yield from (*result.ckpt.stated, *result.data.stated)
    if result.shift == "inplace":
        yield (
            "the shift was the papers' overlapping in-place code, which is NOT a spatial shift; "
            "this accuracy is for comparison only"
        )
    if result.shift == "none":
        yield "the shift was removed; this accuracy is for comparison only"
    if result.nonfinite:
        advice = "; --dtype fp32 has the range that fp16 lacks" if result.dtype == "fp16" else ""
        yield f"{result.nonfinite} images gave NaN or infinite logits and count as wrong{advice}"
    if result.data.classes != outputs and result.data.limit is None:
        yield f"the data covers {result.data.classes} of the classifier's {outputs} classes"
    if result.label_orders:
        yield from _order_warnings(result)
    published = result.published
    if published is None or published.top1 is None:
        return
    if result.top1_interval[1] <= published.top1 / 100 - FAR_BELOW:
        yield _far_below(result, published)


def _order_warnings(result: ValidateResult) -> Iterator[str]:
    best = max(result.label_orders, key=lambda order: order.correct1)
    if best.correct1 <= 2 * result.correct1:
        yield "top-1 is near chance, and no known order of the classes explains it"
    else:
        yield (
            f"top-1 is near chance, but {best.top1:.2%} with {best.order}: the classes are "
            "numbered in another order"
        )
    if not any(_DEVKIT in row.order for row in result.label_orders):
        yield (
            f"the order of {_DEVKIT} was not tried, because there is no devkit of these "
            f"{result.spec['classes']} classes; to try it, put {ARCHIVE} next to the images"
        )


def _far_below(result: ValidateResult, published: Published) -> str:
    whose = result.model
    if published.model != result.model:
        whose = f"{published.model}, the nearest built-in, which is not exactly the same model"
    shift_causes = (
        "trained with the papers' overlapping in-place shift (compare with --shift inplace "
        "--device cpu), another order of directions or position of the norms (see --model), "
    )
    return (
        f"top-1 is far below the published {published.top1} % of {whose}; possible causes: "
        f"{shift_causes if result.shift else ''}another mean and std or crop, raw instead of "
        "averaged weights (--ema), classes in another order"
    )
