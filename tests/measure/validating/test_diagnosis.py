"""What a report says of a low accuracy."""

import numpy as np
import pytest

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.devkit import ARCHIVE
from s2mlp_cli.measure.validating.diagnosis import (
    devkit_numbers,
    find_label_orders,
    published_accuracy,
    remarks,
    string_sorted,
)
from s2mlp_cli.measure.validating.score import Scored
from s2mlp_cli.records.validate import LabelOrder, Published
from s2mlp_cli.specs import load_spec
from tests import samples
from tests.digits import flat, tar_of, write_csv, write_devkit
from tests.measure.validating.test_score import table_of


def result(**changes):
    whole = samples.validate().results[0]
    return whole.model_copy(update={"spec": {"classes": 10}, **changes})


@pytest.mark.parametrize("side", ["outputs", "labels"])
@pytest.mark.parametrize("order", ["the devkit's numbers", "numbers sorted as text"])
def test_another_order_of_the_classes_is_recognised(order, side, digits, tmp_path):
    devkit = write_devkit(digits, tmp_path / ARCHIVE)
    number = {"the devkit's numbers": devkit_numbers(devkit, 10),
              "numbers sorted as text": string_sorted(1000)}[order]  # fmt: skip
    # That devkit counts backwards; as text, 10 comes after 0 and 1.
    assert number[:3].tolist() == ([9, 8, 7] if len(number) == 10 else [0, 1, 112])
    ordered = np.arange(len(number))
    said, right = (number, ordered) if side == "outputs" else (ordered, number)
    found = find_label_orders(Scored(table_of(said.tolist(), -1), right), len(number), devkit)
    rows = {row.order: row.correct1 for row in found}
    assert rows[f"{side} in {order}"] == max(rows.values()) == len(number)
    assert rows["sorted synsets"] < 0.03 * len(number)


def test_orders_are_not_looked_for_when_the_accuracy_is_fine():
    for right, tried in ((2, True), (31, False)):
        scored = Scored(table_of([0] * right + [1] * (1000 - right)), np.zeros(1000, np.int64))
        assert bool(find_label_orders(scored, 1000)) is tried
    assert find_label_orders(Scored(table_of([0, 1]), np.array([0, 1])), 1000) == ()


def test_a_devkit_of_other_classes_or_a_damaged_one_orders_nothing(digits, tmp_path):
    devkit = write_devkit(digits, tmp_path / ARCHIVE)
    assert devkit_numbers(devkit, 1000) is None
    assert devkit_numbers(tar_of(tmp_path / "x.tar.gz", {"a": b""}, "w:gz"), 10) is None


def test_the_devkit_is_kept_wherever_the_labels_come_from(digits, tmp_path):
    folder = flat(digits, tmp_path)
    labels = write_csv(digits, tmp_path / "some.csv")
    assert open_images(folder, labels).devkit is None
    beside = write_devkit(digits, tmp_path / ARCHIVE)
    assert open_images(folder, labels).devkit == beside
    given = write_devkit(digits, tmp_path / "given.tgz")
    assert open_images(folder, given).devkit == given


def test_without_a_devkit_it_is_said_that_its_order_was_not_tried():
    tried = tuple(
        LabelOrder(order=order, correct1=1, top1=0.01)
        for order in ("sorted synsets", "labels in numbers sorted as text")
    )
    sentence = (
        "the order of the devkit's numbers was not tried, because there is no devkit of these 10 "
        f"classes; to try it, put {ARCHIVE} next to the images"
    )
    assert sentence in remarks(result(label_orders=tried))
    with_devkit = (*tried, LabelOrder(order="labels in the devkit's numbers", correct1=1, top1=0.1))
    assert sentence not in remarks(result(label_orders=with_devkit))
    assert sentence not in remarks(result())


def test_a_model_of_its_own_is_held_against_the_nearest_built_in():
    inferred = load_spec("v2-small").model_copy(update={"name": "checkpoint"})
    found = published_accuracy(inferred, nearest="v2-small")
    assert found is not None
    assert (found.model, found.top1) == ("v2-small", 82.0)
    assert published_accuracy(inferred) is None
    fewer = inferred.model_copy(update={"classes": 10})
    assert published_accuracy(fewer, nearest="v2-small") is None


@pytest.mark.parametrize(
    ("model", "whose"),
    [
        ("v2-small", "of v2-small; possible causes: trained with the papers' overlapping in-place"),
        (
            "checkpoint",
            "of v2-small, the nearest built-in, which is not exactly the same model; possible",
        ),
    ],
)
def test_far_below_names_whose_published_value_it_is(model, whose):
    published = Published(model="v2-small", paper="a paper", row="a row", top1=80.7)
    low = result(model=model, published=published, top1=0.5, top1_interval=(0.45, 0.55))
    assert any(f"far below the published 80.7 % {whose}" in text for text in remarks(low))
    near = result(model=model, published=published, top1_interval=(0.77, 0.79))
    assert not any("far below" in text for text in remarks(near))


def test_far_below_speaks_of_no_shift_where_the_model_has_none():
    published = Published(model="mixer-b16", paper="a paper", row="a row", top1=76.4)
    low = result(model="mixer-b16", shift=None, published=published, top1_interval=(0.45, 0.55))
    (said,) = (text for text in remarks(low) if "far below" in text)
    assert said == (
        "top-1 is far below the published 76.4 % of mixer-b16; possible causes: another mean and std "
        "or crop, raw instead of averaged weights (--ema), classes in another order"
    )
