"""Predictions image by image survive both forms."""

import os

import pytest

from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.predictions import Prediction, load_predictions, save_predictions


def row(name, right, label=3):
    top1 = label if right else label + 1
    return Prediction(name, label, top1, 1, 2, -1, -1, 0.25, 1.5, right, right, False)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_saved_is_read_back(ending, tmp_path):
    rows = [row("a,1.png", True), row("ü.png", False)]
    path = tmp_path / f"p.{ending}"
    save_predictions(path, rows)
    assert load_predictions(path) == rows


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "x.csv").write_text("hello\nyou\n")
    sentence = "x.csv does not hold predictions .row 1, name: Input should be a valid string"
    with pytest.raises(RecordError, match=sentence):
        load_predictions(tmp_path / "x.csv")
    with pytest.raises(RecordError, match=r"predictions are .csv or .parquet, not 'x.txt'"):
        load_predictions(tmp_path / "x.txt")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_name_that_is_not_utf8_is_saved_as_text(ending, tmp_path):
    path = tmp_path / f"p.{ending}"
    save_predictions(path, [row(os.fsdecode(b"caf\xe9/1.png"), True)])
    assert load_predictions(path) == [row(r"caf\xe9/1.png", True)]
