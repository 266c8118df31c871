"""Of several splits one is read, whatever they are called and wherever they are; others are named."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.names import split_of
from tests.data.sets import refused
from tests.digits import GREY, fill, tar_of, zip_of


def shard(path, images=1):
    """A shard of a WebDataset whose name says how its images are called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    members = {}
    for number in range(images):
        members |= {f"{path.stem}_{number}.png": GREY, f"{path.stem}_{number}.cls": b"1"}
    return tar_of(path, members)


def table(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [{"bytes": GREY, "path": path.name}], "label": [1]}), path)
    return path


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("imagenet1k-train-0000.tar", "train"), ("imagenet1k-validation-00.tar", "validation"),
        ("ILSVRC2012_img_val.tar", "validation"), ("VAL", "validation"), ("val2017", "validation"),
        ("ImageNetVal.zip", "validation"), ("dev.parquet", "validation"), ("valid", "validation"),
        ("Test_Images", "test"), ("trainval", "train"), ("train-val", "train"), ("split=test", "test"),
        ("valley", None), ("ILSVRC2012_devkit_t12", None), ("retrained", None), ("contest", None),
        ("n01440764", None), ("imagenet", None), ("trainset", "train"), ("valset_2", "validation"),
        ("my-testset.tar", "test"), ("validating", "validation"), ("x-trn.tar", "train"),
        ("x-vld.tar", "validation"), ("tst", "test"),
    ],
)  # fmt: skip
def test_a_name_says_its_split_by_a_word(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize(
    "word", ["val", "Valid", "VALIDATION", "dev", "imagenet-val", "img_val_2012"]
)
@pytest.mark.parametrize("kind", ["folder", "shards", "parquet", "tar", "zip"])
def test_of_train_and_a_validation_split_the_latter_is_read(word, kind, tmp_path):
    if kind == "folder":
        fill(tmp_path, "train/a/1.png", "train/b/2.png", f"{word}/a/3.png", f"{word}/b/4.png")
    elif kind == "shards":
        shard(tmp_path / "imagenet-train-0000.tar"), shard(tmp_path / f"{word}-0000.tar")
    elif kind == "parquet":
        table(tmp_path / "train-00000.parquet"), table(tmp_path / f"{word}-00000.parquet")
    else:
        names = (f"set/{s}/{c}/1.png" for s in ("train", word) for c in "ab")
        write = tar_of if kind == "tar" else zip_of
        write(tmp_path / f"x.{kind}", dict.fromkeys(names, GREY))
    images = open_images(tmp_path)
    assert len(images) == (1 if kind in ("shards", "parquet") else 2)
    assert not any("train" in name for name in images.names)
    (note,) = images.notes
    assert re.fullmatch(
        r"not read: \d (image|archive)s? outside the split '\w+'; .* is .*train.*", note
    )


@pytest.mark.parametrize("other", ["train.tar", "train.parquet", "train.zip"])
def test_an_archive_of_another_split_does_not_take_the_place_of_a_folder(other, tmp_path):
    fill(tmp_path, "val/a/1.png", "val/b/2.png", other)
    images = open_images(tmp_path)
    assert (images.path, images.names) == (f"{tmp_path}/val", ("a/1.png", "b/2.png"))
    assert images.notes == (f"not read: 1 archive outside the split 'val'; the first is {other}",)


def test_an_archive_of_the_validation_split_is_read_though_a_folder_is_of_train(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/2.png")
    shard(tmp_path / "val.tar")
    assert open_images(tmp_path).names == ("val_0.png",)


def test_folders_of_shards_and_of_parquet_files_are_splits_too(tmp_path):
    shard(tmp_path / "a" / "train" / "0.tar"), shard(tmp_path / "a" / "valid" / "1.tar")
    assert open_images(tmp_path / "a").names == ("1_0.png",)
    table(tmp_path / "b" / "data" / "train" / "0.parquet")
    table(tmp_path / "b" / "data" / "split=validation" / "1.parquet")
    images = open_images(tmp_path / "b")
    assert images.names == ("1.parquet",)
    assert images.notes == (
        "not read: 1 archive outside the split 'validation'; the first is data/train/0.parquet",
    )


def test_a_split_in_each_class_folder_is_not_a_class(tmp_path):
    fill(tmp_path, *(f"{c}/{s}/1.png" for c in ("cat", "dog") for s in ("train", "val")))
    images = open_images(tmp_path)
    assert images.names == ("cat/val/1.png", "dog/val/1.png")
    assert "2 images outside the split 'val'; the first is cat/train/1.png" in images.notes[0]


def test_the_splits_in_a_shard_are_not_mixed(tmp_path):
    names = [f"{split}/{number}" for split in ("train", "val") for number in range(2)]
    members = {f"{n}.png": GREY for n in names} | {f"{n}.cls": b"1" for n in names}
    images = open_images(tar_of(tmp_path / "x.tar", members))
    assert images.names == ("val/0.png", "val/1.png")


def test_train_alone_is_not_read_unless_it_is_chosen(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/2.png")
    refused(tmp_path, r"has 'train', but no validation images; choose .* --split train")
    assert len(open_images(tmp_path, split="train")) == 2
    assert len(open_images(tmp_path / "train")) == 2
    tar = tar_of(tmp_path / "x.tar", {"train/a/1.png": GREY, "train/b/2.png": GREY})
    refused(tar, r"x\.tar has 'train', but no validation images")
    assert len(open_images(tar, split="train")) == 2
    assert len(open_images(tar.rename(tmp_path / "train.tar"))) == 2


def test_a_pattern_of_shards_is_held_to_the_same(tmp_path):
    for number in range(3):
        shard(tmp_path / f"train-{number:04d}.tar")
    refused(tmp_path / "*.tar", r"has 'train-0000\.tar', .* but no validation images")
    assert len(open_images(tmp_path / "train-*.tar")) == 3
    shard(tmp_path / "val-0000.tar")
    images = open_images(tmp_path / "*.tar")
    assert images.names == ("val-0000_0.png",)
    assert images.notes == (
        "not read: 3 archives outside the split 'val'; the first is train-0000.tar",
    )
    shard(tmp_path / "valid" / "x.tar"), shard(tmp_path / "test" / "x.tar")
    assert len(open_images(tmp_path / "*" / "x.tar")) == 1


def test_braces_stand_for_every_shard_and_a_missing_one_is_named(tmp_path):
    for number in range(8, 12):
        shard(tmp_path / f"val-{number:04d}.tar")
    images = open_images(tmp_path / "val-{0008..0011}.tar")
    assert [name[:8] for name in images.names] == ["val-0008", "val-0009", "val-0010", "val-0011"]
    assert len(open_images(tmp_path / "val-00{08,09}.tar")) == 2
    refused(tmp_path / "val-{0008..0012}.tar", r"there is nothing at .*val-0012\.tar; check")
    refused(tmp_path / "val-{5..1}.tar", r"names 0 files")
    refused(tmp_path / "val-{0..999999999}.tar", r"names 100,001 files or more")


def test_test_images_are_read_if_there_are_no_others_and_they_have_labels(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    images = open_images(tmp_path)
    assert images.path == str(tmp_path / "test")
    assert images.notes[0] == "the test images are read, since there are no validation images"
    fill(tmp_path, "val/a/5.png", "val/b/6.png")
    assert open_images(tmp_path).path == str(tmp_path / "val")


def test_test_images_without_labels_are_refused_and_the_rest_is_named(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/2.png", "test/3.png", "test/4.png")
    refused(
        tmp_path, r"images without their classes \(.*not read: 2 images .* train/a/1.png\), and"
    )
    rows = {"image": [{"bytes": GREY, "path": "1.png"}], "label": [-1]}
    pq.write_table(pa.table(rows), tmp_path / "test.parquet")
    refused(tmp_path / "test.parquet", r"row 0 has no label \(-1\); give the validation split")


def test_a_class_may_be_called_as_a_split(tmp_path):
    """CIFAR-100 and PASCAL VOC have the class train."""
    fill(tmp_path, "bus/1.png", "car/2.png", "train/3.png")
    images = open_images(tmp_path)
    assert images.labels.classes == ("bus", "car", "train")
    assert images.notes == (
        "'train' is read like what is beside it; if it is a split, choose it with --split",
    )


def test_what_cannot_be_told_apart_is_listed(tmp_path):
    fill(tmp_path / "1", *(f"{s}/{c}/1.png" for s in ("train", "extra") for c in "ab"))
    refused(tmp_path / "1", r"has 'extra', 'train', but no validation images; choose .* --split")
    assert open_images(tmp_path / "1", split="extra").path == str(tmp_path / "1" / "extra")
    fill(tmp_path / "2", *(f"{s}/{c}/1.png" for s in ("val", "dev") for c in "ab"))
    refused(tmp_path / "2", r"more than one set to validate on: 'dev', 'val'; choose one with")
    assert open_images(tmp_path / "2", split="dev").path == str(tmp_path / "2" / "dev")
    fill(tmp_path / "3", *(f"val_{n}/{c}/1.png" for n in (1, 2) for c in "ab"))
    refused(tmp_path / "3", r"several folders of one kind: 'val_1', 'val_2'; choose one with")
    assert open_images(tmp_path / "3", split="val_2").path == str(tmp_path / "3" / "val_2")
    shard(tmp_path / "4" / "val.tar"), table(tmp_path / "4" / "val.parquet")
    refused(tmp_path / "4", r"has val\.parquet and val\.tar, which are not read together; give the")


@pytest.mark.parametrize("asked", ["train", "TRAIN", "training"])
def test_a_split_is_chosen_by_a_word_of_its_name(asked, tmp_path):
    shard(tmp_path / "in1k-train-0.tar"), shard(tmp_path / "in1k-val-0.tar")
    images = open_images(tmp_path, split=asked)
    assert images.names == ("in1k-train-0_0.png",)
    assert "1 archive outside the split 'train'; the first is in1k-val-0.tar" in images.notes[0]


def test_a_split_that_is_nowhere_is_refused(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png")
    refused(tmp_path, r"has no split 'tset', but 'train', 'val'; choose one of them", split="tset")
    refused(tmp_path / "val", r"there is no split 'test' at .*val; leave out --split", split="test")
    assert len(open_images(tmp_path / "val", split="validation")) == 2


def test_none_as_split_makes_classes_of_all_folders(tmp_path):
    fill(tmp_path, "train/1.png", "test/2.png", "valid/3.png")
    refused(tmp_path, r"images without their classes")
    images = open_images(tmp_path, split="none")
    assert images.labels.classes == ("test", "train", "valid")


def test_a_column_of_a_table_may_say_the_split(tmp_path):
    fill(tmp_path, "1.png", "2.png", "3.png")
    rows = "file,label,split\n1.png,0,train\n2.png,1,valid\n3.png,2,test\n"
    (tmp_path / "all.csv").write_text(rows)
    images = open_images(tmp_path / "all.csv")
    assert images.names == ("2.png",)
    assert len(images.notes) == 1
    assert open_images(tmp_path / "all.csv", split="train").names == ("1.png",)


def test_a_compressed_archive_of_the_split_is_refused_with_the_reason(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/2.png")
    tar_of(tmp_path / "val.tar.gz", {"a/1.png": GREY}, "w:gz")
    refused(tmp_path, r"val\.tar\.gz is compressed, so its images cannot be read in place; decomp")
    fill(tmp_path, "val/a/1.png", "val/b/2.png")
    note = "not read: 1 archive beside the images; the first is val.tar.gz"
    assert note in open_images(tmp_path).notes


def test_archives_that_are_not_shards_are_not_read_together(tmp_path):
    for name in ("x-one.tar", "x-two.tar"):
        tar_of(tmp_path / name, {"a/1.png": GREY, "b/2.png": GREY})
    refused(tmp_path, r"has 2 archives, and only shards of a WebDataset are read together: 'x-one")
    assert len(open_images(tmp_path, split="two")) == 2
