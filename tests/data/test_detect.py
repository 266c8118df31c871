"""What lies at a path is recognised, or refused with a sentence that says what to do."""

import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.labels import imagenet_synsets
from s2mlp_cli.data.subset import fingerprint
from s2mlp_cli.errors import DataError
from tests.digits import png, tar_of, zip_of

IMAGE = png(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))


def refused(path, message, labels=None):
    """The sentence is one line, names the fault and ends with a remedy."""
    with pytest.raises(DataError) as caught:
        open_images(path, labels)
    text = str(caught.value)
    assert re.search(message, text), text
    assert "\n" not in text
    assert ";" in text


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(IMAGE)
    return folder


def test_numeric_folders_are_sorted_as_numbers(tmp_path):
    images = open_images(fill(tmp_path, *(f"{number}/a.jpeg" for number in range(12))))
    assert images.labels is not None
    assert images.labels.classes == tuple(map(str, range(12)))
    place = dict(zip(images.names, images.labels.targets(12).tolist(), strict=True))
    assert place["2/a.jpeg"] == 2
    assert place["10/a.jpeg"] == 10


def test_a_part_of_imagenet_keeps_the_places_of_its_synsets(tmp_path):
    synsets = imagenet_synsets()
    images = open_images(fill(tmp_path, f"{synsets[5]}/a.JPEG", f"{synsets[900]}/b.JPEG"))
    assert images.labels is not None
    assert images.labels.targets(1000).tolist() == [5, 900]
    assert images.labels.targets(2).tolist() == [0, 1]


def test_the_same_images_have_the_same_fingerprint_in_every_form(tmp_path):
    def mark(images):
        assert images.labels is not None
        sizes = [len(images.source.read(i)) for i in range(len(images))]
        return fingerprint(images.names, sizes, images.labels.targets(2))

    folder = fill(tmp_path / "set", "b/2.png", "a/1.png")
    tar = tar_of(tmp_path / "x.tar", {"val/b/2.png": IMAGE, "val/a/1.png": IMAGE})
    zipped = zip_of(tmp_path / "x.zip", {"b/2.png": IMAGE, "a/1.png": IMAGE})
    other = tar_of(tmp_path / "y.tar", {"val/b/1.png": IMAGE, "val/a/2.png": IMAGE})
    assert mark(open_images(folder)) == mark(open_images(tar)) != mark(open_images(other))
    assert mark(open_images(folder)) == mark(open_images(zipped))


def test_nothing_there(tmp_path):
    refused(tmp_path / "no", r"there is nothing at .*no; check the path given with --data")


def test_an_empty_folder(tmp_path):
    refused(tmp_path, r"has no images; give class folders")


def test_an_empty_class_folder(tmp_path):
    (fill(tmp_path, "a/1.png") / "b").mkdir()
    refused(tmp_path, r"the class folder .*b has no image that can be read; add its images")


def test_class_folders_go_before_an_image_beside_them(tmp_path):
    images = open_images(fill(tmp_path, "a/1.png", "b/2.png", "logo.png", "thumb.png"))
    assert (images.form, images.names) == ("class folders", ("a/1.png", "b/2.png"))
    assert images.notes == ("not read: 2 images beside the class folders; the first is logo.png",)


def test_one_folder_with_images_does_not_make_classes_of_a_flat_set(tmp_path):
    (tmp_path / "labels.csv").write_text("1.png,1\n2.png,0\n")
    images = open_images(fill(tmp_path, "1.png", "2.png", "examples/3.png"))
    assert (images.form, images.names) == ("a flat folder", ("1.png", "2.png"))
    assert images.notes == (
        "not read: 1 image in a folder of the flat set; the first is examples/3.png",
    )


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"hello")
    refused(tmp_path / "x.bin", r"x.bin is not of a known form; give ")


def test_images_without_any_labels(tmp_path):
    refused(
        fill(tmp_path, "1.png"),
        r"images without their classes, and there is no .* give a label file",
    )


@pytest.mark.parametrize(
    "text",
    [
        "1.png,1\n2.png,0\n",
        "\ufeff Image ,label\n\n2.png , 0\n1.png , 1\n",
        "val/1.png,1\nval/2.png,0\n",
        "1,1\n2,0\n",
        "1.png,1.0\n2.png,0.0\n",  # as pandas writes numbers where a row had none
        "1.png,cat\n2.png,ant\n",
        "ImageId,PredictionString\n1,n02 1 2 3 4 n02 5 6 7 8\n2,n01 1 2 3 4\n",
    ],
)
def test_the_ways_to_write_names_and_classes(text, tmp_path):
    (tmp_path / "l.csv").write_text(text, encoding="utf-8")
    images = open_images(fill(tmp_path / "i", "1.png", "2.png"), tmp_path / "l.csv")
    assert images.labels is not None
    assert images.labels.values.tolist() == [1, 0]
    form = "Kaggle's solution file" if "ImageId" in text else "the CSV"
    assert images.labels.origin == f"{form} {tmp_path}/l.csv"


def test_labels_of_other_files(tmp_path):
    (tmp_path / "l.csv").write_text("x.png,1\n")
    refused(fill(tmp_path / "i", "1.png"), r"l.csv labels other files: none", tmp_path / "l.csv")


def test_fewer_images_than_labels_unless_that_is_meant(tmp_path):
    (tmp_path / "l.csv").write_text("1.png,1\n2.png,0\n")
    folder = fill(tmp_path / "i", "1.png")
    refused(folder, r"there are 1 images, fewer than the 2 labels .* '2.png'", tmp_path / "l.csv")
    images = open_images(folder, tmp_path / "l.csv", partial=True)
    assert images.labels is not None
    assert images.labels.values.tolist() == [1]


def test_fewer_labels_than_images(tmp_path):
    (tmp_path / "l.csv").write_text("1.png,1\n")
    folder = fill(tmp_path / "i", "1.png", "2.png")
    refused(folder, r"no label for 1 of the 2 images, the first is '2.png'", tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.png,1\n2.png\n", r"line 3: expected 'file,label' but found '2.png'"),
        ("1.png,1\n\n2.png,x\n", r"line 3: the label 'x' is not a whole number"),
        ("1.png,1\n1.png,2\n", r"line 2: '1.png' has a label already"),
        ("1.png,1\n2.png,-1\n", r"line 2: the label '-1' is not a whole number"),
        ("file,label\n", r"has no labels"),
        ("ImageId,PredictionString\nx,\n", r"line 2: expected 'file,label'"),
    ],
)
def test_a_bad_row_of_a_csv_is_named_by_its_line(tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    refused(fill(tmp_path / "i", "1.png", "2.png"), message, tmp_path / "l.csv")


def test_a_label_file_that_is_none(tmp_path):
    (tmp_path / "l.csv").write_bytes(b"\x00\x01\xff")
    folder = fill(tmp_path / "i", "1.png")
    refused(folder, r"neither the devkit archive nor a table", tmp_path / "l.csv")
    refused(folder, r"there is no label file", tmp_path / "none.csv")


def test_a_devkit_without_its_files(tmp_path):
    devkit = tar_of(tmp_path / "devkit.tar.gz", {"readme.txt": b""}, "w:gz")
    refused(
        fill(tmp_path / "i", "1.png"),
        r"does not contain ILSVRC2012_validation_ground_truth",
        devkit,
    )


@pytest.mark.parametrize("kept", [700, 1200, 1536, 2048, 2600])
def test_a_tar_cut_short_is_found_before_the_run(tmp_path, kept):
    tar = tar_of(tmp_path / "x.tar", {"a/1.png": bytes(600), "b/2.png": bytes(600)})
    tar.write_bytes(tar.read_bytes()[:kept])
    refused(tar, r"cut short|not a whole tar archive")


def test_a_compressed_tar_cannot_be_read_in_place(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"a/1.png": IMAGE}, "w:gz")
    refused(tar, r"is compressed, so its images cannot be read in place; decompress it first")


def test_a_webdataset_sample_without_its_class(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"1.png": IMAGE, "1.cls": b"3", "2.png": IMAGE})
    refused(tar, r"the sample 2 in .* has an image but no .cls")


def test_a_webdataset_class_that_is_no_number(tmp_path):
    refused(tar_of(tmp_path / "x.tar", {"1.png": IMAGE, "1.cls": b"cat"}), r"x.tar: 1.cls does not")


def test_parquet_without_images_or_cut_short(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    refused(path, r"has the columns text, but a column 'image'")
    path.write_bytes(path.read_bytes()[:40])
    refused(path, r"not a whole Parquet file .*; copy or download it again")


def test_a_list_may_name_what_no_system_can_have(tmp_path):
    (tmp_path / "list.csv").write_text(f"a.png,0\n{'9' * 5000},1\n")
    refused(fill(tmp_path, "a.png") / "list.csv", r"list\.csv names 1 files that are not there")


def test_a_repeated_column_of_parquet_is_refused(tmp_path):
    columns = [pa.array([{"bytes": IMAGE}]), pa.array([{"bytes": IMAGE}]), pa.array([1])]
    table = pa.Table.from_arrays(columns, ["image", "image", "label"])
    pq.write_table(table, tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", r"x\.parquet is not a whole Parquet file")


def test_a_list_that_names_files_that_are_not_there(tmp_path):
    (tmp_path / "list.csv").write_text("a.png,0\nb.png,1\n")
    refused(fill(tmp_path, "a.png") / "list.csv", r"names 1 files that are not there .*'b.png'")


def test_jpeg_files_in_a_folder_without_extension_case(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "JPEG")
    fill(tmp_path, "b/2.PNG")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.JPEG").write_bytes(stream.getvalue())
    (tmp_path / "a" / ".hidden.JPEG").write_bytes(b"")
    images = open_images(tmp_path)
    assert images.names == ("a/1.JPEG", "b/2.PNG")
    assert images.source.read(0) == stream.getvalue()
