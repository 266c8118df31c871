"""ReaL labels go by the number in the name of a validation image."""

import json

import pytest

from s2mlp_cli.data.real_labels import BUNDLED, real_labels
from s2mlp_cli.errors import DataError


def test_the_number_in_the_name_says_the_row_in_any_folder(tmp_path):
    path = tmp_path / "real.json"
    path.write_text(json.dumps([[4, 7], [], [1]]))
    names = ("val/n01440764/ILSVRC2012_val_00000003.JPEG", "ILSVRC2012_val_00000001.png")
    assert real_labels(path, names) == ((1,), (4, 7))
    assert real_labels(path, ("ILSVRC2012_val_00000002_n01440764.JPEG",)) == ((),)


def test_timm_carries_the_labels_of_all_fifty_thousand_images():
    names = tuple(f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50_001))
    labels = real_labels(BUNDLED, names)
    assert len(labels) == 50_000
    assert {label for row in labels for label in row} == set(range(1000))
    assert sum(not row for row in labels) == 3163  # arXiv 2006.07159: 46,837 have a label


@pytest.mark.parametrize("name", ["cat.png", "ILSVRC2012_val_00000004.JPEG", "ILSVRC2012_val_1"])
def test_an_image_without_such_a_number_is_named(tmp_path, name):
    path = tmp_path / "real.json"
    path.write_text("[[1], [2], [3]]")
    with pytest.raises(DataError, match=rf"which '{name}' does not have .* within 1 to 3"):
        real_labels(path, (name,))


@pytest.mark.parametrize("content", ["{}", "[1, 2]", '[["a"]]', "[[1]", "\xff"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "real.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"real\.json .*; give real\.json, or 'timm'"):
        real_labels(path, ("ILSVRC2012_val_00000001.JPEG",))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"labels .*nowhere\.json cannot be read"):
        real_labels(tmp_path / "nowhere.json", ())
