"""What is at a path is recognised, or refused with a sentence that says what to do."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.subset import fingerprint
from tests.data.sets import in_every_form, refused
from tests.digits import GREY, fill, tar_of


def test_the_same_images_have_the_same_fingerprint_in_every_form(tmp_path):
    def mark(images):
        sizes = [len(images.source.read(i)) for i in range(len(images))]
        return fingerprint(images.names, sizes, images.labels.targets(2))

    folder, tar, zipped = in_every_form(tmp_path, {"b/2.png": GREY, "a/1.png": GREY}).values()
    other = tar_of(tmp_path / "y.tar", {"val/b/1.png": GREY, "val/a/2.png": GREY})
    assert mark(folder) == mark(tar) == mark(zipped) != mark(open_images(other))


def test_nothing_there(tmp_path):
    refused(tmp_path / "no", r"there is nothing at .*no; check the path given with --data")


def test_an_empty_folder(tmp_path):
    refused(tmp_path, r"has no images; give class folders")


def test_an_empty_class_folder(tmp_path):
    (fill(tmp_path, "a/1.png") / "b").mkdir()
    refused(tmp_path, r"the class folder .*b has no image that can be read; add its images")


def test_class_folders_go_before_an_image_beside_them(tmp_path):
    members = dict.fromkeys(("a/1.png", "b/2.png", "logo.png", "thumb.png"), GREY)
    for images in in_every_form(tmp_path, members).values():
        assert images.names == ("a/1.png", "b/2.png")
        assert images.notes == (
            "not read: 2 images beside the class folders; the first is logo.png",
        )


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
    message = r"images without their classes, and there is no .* give a label file"
    refused(fill(tmp_path, "1.png"), message)


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
    labels = open_images(fill(tmp_path / "i", "1.png", "2.png"), tmp_path / "l.csv").labels
    assert labels.values.tolist() == [1, 0]
    form = "Kaggle's solution file" if "ImageId" in text else "the CSV"
    assert labels.origin == f"{form} {tmp_path}/l.csv"


def test_labels_of_other_files(tmp_path):
    (tmp_path / "l.csv").write_text("x.png,1\n")
    refused(fill(tmp_path / "i", "1.png"), r"l.csv labels other files: none", tmp_path / "l.csv")


def test_fewer_images_than_labels_unless_that_is_meant(tmp_path):
    (tmp_path / "l.csv").write_text("1.png,1\n2.png,0\n")
    folder = fill(tmp_path / "i", "1.png")
    refused(folder, r"there are 1 images, fewer than the 2 labels .* '2.png'", tmp_path / "l.csv")
    images = open_images(folder, tmp_path / "l.csv", partial=True)
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


def test_a_file_that_is_not_a_label_file(tmp_path):
    (tmp_path / "l.csv").write_bytes(b"\x00\x01\xff")
    folder = fill(tmp_path / "i", "1.png")
    refused(folder, r"neither the devkit archive nor a table", tmp_path / "l.csv")
    refused(folder, r"there is no label file", tmp_path / "none.csv")


def test_a_devkit_without_its_files(tmp_path):
    devkit = tar_of(tmp_path / "devkit.tar.gz", {"readme.txt": b""}, "w:gz")
    message = r"does not contain ILSVRC2012_validation_ground_truth"
    refused(fill(tmp_path / "i", "1.png"), message, devkit)


def test_parquet_without_images_or_cut_short(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    refused(path, r"has the columns text, but a column 'image'")
    path.write_bytes(path.read_bytes()[:40])
    refused(path, r"not a whole Parquet file .*; copy or download it again")


def test_a_repeated_column_of_parquet_is_refused(tmp_path):
    columns = [pa.array([{"bytes": GREY}]), pa.array([{"bytes": GREY}]), pa.array([1])]
    table = pa.Table.from_arrays(columns, ["image", "image", "label"])
    pq.write_table(table, tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", r"x\.parquet is not a whole Parquet file")


@pytest.mark.parametrize("name", ["b.png", "9" * 5000])
def test_a_list_that_names_files_that_are_not_there(name, tmp_path):
    (tmp_path / "list.csv").write_text(f"a.png,0\n{name},1\n")
    message = rf"list\.csv names 1 files that are not there .*'{name[:9]}"
    refused(fill(tmp_path, "a.png") / "list.csv", message)


def test_jpeg_files_in_a_folder_without_extension_case(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "JPEG")
    fill(tmp_path, "a/1.JPEG", content=stream.getvalue())
    images = open_images(fill(tmp_path, "b/2.PNG", "a/.hidden.JPEG"))
    assert images.names == ("a/1.JPEG", "b/2.PNG")
    assert images.source.read(0) == stream.getvalue()
