"""What a data set writes as a class, and which output of a classifier it means."""

import numpy as np
import pytest

from s2mlp_cli.data.labels import Labels, class_number, imagenet_synsets
from s2mlp_cli.errors import DataError


@pytest.mark.parametrize(
    ("written", "number"),
    [(7, 7), ("7", 7), (b" 7\n", 7), (7.0, 7), ("7.", 7), ("007", 7), ("999999999", 999_999_999)],
)
def test_a_class_is_a_whole_number_however_it_is_written(written, number):
    assert class_number(written) == number


@pytest.mark.parametrize("written", ["", "-1", "7.5", "1e3", "x", "٣", "1000000000", None, b"\xff"])
def test_what_no_class_can_be(written):
    with pytest.raises(ValueError, match="is not a whole number that a class can have"):
        class_number(written)


def test_whole_numbers_are_classes_and_anything_else_names_them():
    assert Labels.from_values([3, 0, 3], "here").targets(4).tolist() == [3, 0, 3]
    named = Labels.from_values(["cat", "ant", "cat"], "here")
    assert named.classes == ("ant", "cat")
    assert named.targets(2).tolist() == [1, 0, 1]
    assert Labels.from_values([3, "cat"], "here").classes == ("3", "cat")


@pytest.mark.parametrize(("values", "wrong"), [([0, 4], 4), ([-1, 9], -1)])
def test_a_number_that_is_not_an_output_is_named(values, wrong):
    labels = Labels(np.array(values), None, "labels.csv")
    with pytest.raises(DataError, match=rf"a label {wrong} \(labels.csv\), .* the outputs 0 to 3;"):
        labels.targets(4)


@pytest.mark.parametrize("names", [["a", "b"], [imagenet_synsets()[0], "b"]])
def test_classes_outside_imagenet_need_as_many_outputs(names):
    labels = Labels.from_names(names, "folders")
    for outputs in (1, 3, 1000):
        with pytest.raises(
            DataError, match=rf"has 2 classes \(folders\), .* has {outputs} outputs"
        ):
            labels.targets(outputs)


def test_a_part_of_imagenet_has_places_among_its_1000_outputs_only():
    labels = Labels.from_names([imagenet_synsets()[7]], "folders")
    assert labels.targets(1000).tolist() == [7]
    with pytest.raises(DataError, match="has 1 classes"):
        labels.targets(10)


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        ({"1.0", *map(str, range(2, 13))}, ("1.0", *map(str, range(2, 13)))),
        ({"10", "9", "x"}, ("10", "9", "x")),  # one that is no number: all are text
    ],
)
def test_names_are_ordered_as_numbers_if_all_are(names, ordered):
    assert Labels.from_names(list(names), "x").classes == ordered
