"""McNemar's test of two files of predictions, and of two records that name theirs."""

from collections import Counter

import pytest

from s2mlp_cli.compare.mcnemar import compare_prediction_files, compare_predictions
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.predictions import Prediction, save_predictions
from tests import samples


def row(name, right, label=3):
    top1 = label if right else label + 1
    return Prediction(name, label, top1, 1, 2, -1, -1, 0.25, 1.5, right, right, False)


def test_two_models_are_compared_on_the_images_that_differ(tmp_path):
    names = [f"{n}" for n in range(20)]
    first, second = tmp_path / "a.csv", tmp_path / "b.parquet"
    save_predictions(first, [row(n, int(n) < 15) for n in names])
    save_predictions(second, [row(n, 9 < int(n) < 18) for n in reversed(names)])
    pairs = compare_predictions(first, second)
    assert Counter(pairs) == {
        (True, True): 5, (True, False): 10, (False, True): 3, (False, False): 2,
    }  # fmt: skip
    top1, only = compare_prediction_files(first, second, samples.ENVIRONMENT).results
    assert top1.values == (0.75, 0.4)
    assert only.values == (10, 3)
    assert top1.p_value == pytest.approx(0.09228515625)  # 2 * P(X <= 3), 13 throws


def test_other_images_or_labels_are_refused(tmp_path):
    save_predictions(tmp_path / "a.csv", [row("a", True)])
    save_predictions(tmp_path / "b.csv", [row("b", True)])
    save_predictions(tmp_path / "c.csv", [row("a", True, label=5)])
    for other in ("b.csv", "c.csv"):
        with pytest.raises(RecordError, match="not about the same images and labels"):
            compare_predictions(tmp_path / "a.csv", tmp_path / other)


def test_images_that_one_could_not_decode_are_left_out(tmp_path):
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    wrong, right = row("0", False), row("0", True)
    for path, broken in zip(paths, "12", strict=True):
        rows = [right._replace(name=name, broken=name in (broken, "3")) for name in "123"]
        save_predictions(path, [wrong, *rows])
    assert compare_predictions(*paths) == [(False, False)]
    for path in paths:
        save_predictions(path, [right._replace(broken=True)])
    with pytest.raises(RecordError, match="share no decoded image; validate both again"):
        compare_predictions(*paths)


@pytest.mark.parametrize("ours", [["a"], ["a", "b", "c"]], ids=["fewer", "more"])
def test_a_file_of_only_some_of_the_images_is_refused(ours, tmp_path):
    save_predictions(tmp_path / "a.csv", [row(name, True) for name in ours])
    save_predictions(tmp_path / "b.csv", [row(name, True) for name in "ab"])
    with pytest.raises(RecordError, match="not about the same images and labels"):
        compare_predictions(tmp_path / "a.csv", tmp_path / "b.csv")


def test_images_of_one_name_are_each_compared(tmp_path):
    """Shards may number their samples each from 0."""
    row = Prediction("0.jpg", 3, 3, 1, 2, 4, 5, 0.5, 0.7, True, True, False)
    paths = tmp_path / "a.csv", tmp_path / "b.csv"
    for path, right in zip(paths, (True, False), strict=True):
        save_predictions(path, [row, row._replace(correct1=right), row])
    assert compare_predictions(*paths) == [(True, True), (True, False), (True, True)]
