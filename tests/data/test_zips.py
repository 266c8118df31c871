"""Zips are read in place by any process; a broken member is named, a broken archive refused."""

import multiprocessing
import re
import struct
import zipfile

import pytest

from s2mlp_cli.data.detect import open_images
from tests.data.sets import LIGHT, batch, contents, refused
from tests.digits import GREY, fill, tar_of, zip_of

# Fields of an entry of the central directory: how they are written, and where they are.
FLAG, METHOD, CRC, PACKED, SIZE, PLACE = (
    ("<H", 8), ("<H", 10), ("<I", 16), ("<I", 20), ("<I", 24), ("<I", 42),
)  # fmt: skip


def rewritten(path, field, change):
    """Change one field of the directory's last entry."""
    content = bytearray(path.read_bytes())
    form, offset = field
    at = content.rindex(b"PK\x01\x02") + offset
    struct.pack_into(form, content, at, change(*struct.unpack_from(form, content, at)))
    path.write_bytes(content)
    return path


@pytest.fixture
def archive(tmp_path):
    return zip_of(tmp_path / "x.zip", {"a/1.png": GREY, "b/2.png": LIGHT})


METHODS = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA


@pytest.mark.parametrize("method", METHODS)
def test_members_are_read_as_they_were_written(method, tmp_path):
    members = {"b/2": LIGHT, "readme": b"", "a/1.png": GREY, "a/3": b"none"}
    images = open_images(zip_of(tmp_path / "x.zip", members, method))
    assert (images.form, images.names) == ("a zip of images", ("a/1.png", "b/2"))
    assert contents(images) == {"a/1.png": GREY, "b/2": LIGHT}
    assert images.notes == ()


@pytest.mark.parametrize("method", METHODS[1:])
def test_no_more_is_unpacked_than_the_directory_says(method, tmp_path):
    swollen = zip_of(tmp_path / "y.zip", {"a/1.png": bytes(10**6), "b/2.png": GREY}, method)
    rewritten(swollen, SIZE, lambda size: size - 1)
    assert re.search(r"do not have the checksum", batch(open_images(swollen)).broken[1])


def test_it_is_known_by_its_first_bytes_too(archive):
    assert len(open_images(archive.rename(archive.with_suffix(".download")))) == 2


def test_folders_go_before_the_zip_that_they_were_unpacked_from(tmp_path):
    zip_of(tmp_path / "imagenet.zip", {"a/1.png": GREY, "b/2.png": GREY})
    images = open_images(fill(tmp_path, "a/1.png", "b/2.png"))
    assert images.form == "class folders"
    assert images.notes == ("not read: 1 archive beside the images; the first is imagenet.zip",)


def test_several_zips_are_not_told_apart(tmp_path):
    for name in ("1.zip", "2.zip"):
        zip_of(tmp_path / name, {"a/1.png": GREY})
    refused(tmp_path / "*.zip", r"has 2 archives, and only shards of a WebDataset")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_open_it_again(method, archive):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork")
    source = open_images(archive).source
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(source.read, [0, 1, 1, 0]) == [GREY, LIGHT, LIGHT, GREY]


def test_the_zip64_form_is_read(tmp_path, monkeypatch):
    for limit in ("ZIP64_LIMIT", "ZIP_FILECOUNT_LIMIT"):
        monkeypatch.setattr(zipfile, limit, 1)
    path = zip_of(tmp_path / "x.zip", {"a/1.png": GREY, "b/2.png": LIGHT})
    assert b"PK\x06\x06" in path.read_bytes()
    assert contents(open_images(path)) == {"a/1.png": GREY, "b/2.png": LIGHT}


def test_kaggles_own_table_in_the_archive_labels_its_validation_images(tmp_path):
    table = b"ImageId,PredictionString\nval_2,n2 1 2 3 4 n2 5 6 7 8 \nval_1,n1 1 2 3 4 \n"
    folder = "ILSVRC/Data/CLS-LOC"
    names = [f"{folder}/{name}.JPEG" for name in ("test/1", "train/n1/1", "val/val_1", "val/val_2")]
    members = dict.fromkeys(names, GREY)
    path = zip_of(tmp_path / "x.zip", {"LOC_val_solution.csv": table, **members})
    images = open_images(path)
    assert images.names == tuple(names[2:])
    assert images.labels.origin == f"Kaggle's solution file {path}/LOC_val_solution.csv"
    assert images.labels.classes == ("n1", "n2")
    assert images.labels.values.tolist() == [0, 1]
    assert images.notes == (f"not read: 2 images outside the split 'val'; the first is {names[0]}",)


def test_a_table_beside_other_images_of_the_archive_labels_nothing(tmp_path):
    members = {"val/1.png": GREY, "train/2.png": LIGHT, "train/labels.csv": b"2.png,1\n"}
    for path in (zip_of(tmp_path / "x.zip", members), tar_of(tmp_path / "x.tar", members)):
        refused(path, "images without their classes")


def test_a_table_in_a_tar_is_found_too(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"val/1.png": GREY, "val/labels.csv": b"1.png,7\n"})
    assert open_images(tar).labels.values.tolist() == [7]


@pytest.mark.parametrize(
    ("field", "change", "reason"),
    [
        (CRC, lambda crc: crc ^ 1, r"do not have the checksum of the archive's directory"),
        (SIZE, lambda size: size - 1, r"do not have the checksum"),
        (SIZE, lambda size: size + 1, r"do not have the checksum"),
        (SIZE, lambda _: 2**32 - 2, r"it unpacks to more than 536,870,912 bytes"),
        (PACKED, lambda packed: packed - 8, r"do not have the checksum"),
        (FLAG, lambda flags: flags | 1, r"it is encrypted"),
        (METHOD, lambda _: 99, r"it is compressed by method 99, which is not supported"),
        (METHOD, lambda _: zipfile.ZIP_LZMA, r"its compressed bytes are damaged"),
        (PLACE, lambda place: place + 1, r"names a place where no member begins"),
    ],
)  # fmt: skip
def test_a_broken_member_is_a_broken_image(field, change, reason, archive):
    found = batch(open_images(rewritten(archive, field, change)))
    assert found.broken[0] == found.lost == ""
    assert re.search(reason, found.broken[1])


def test_damaged_bytes_are_a_broken_image(archive):
    images = open_images(archive)
    content = bytearray(archive.read_bytes())
    second = content.index(b"b/2.png") + len("b/2.png")
    content[second : second + 4] = b"\xff" * 4
    archive.write_bytes(content)
    assert batch(images).broken[0] == ""
    assert batch(images).broken[1].startswith("OSError: its compressed bytes are damaged: Error")


def test_an_archive_cut_off_during_the_run_has_broken_images(archive):
    images = open_images(archive)
    archive.write_bytes(archive.read_bytes()[:60])
    assert all(re.search(r"the archive ends \d+ bytes before", why) for why in batch(images).broken)


@pytest.mark.parametrize("kept", [0, 3, 40, 200, -1, -22])
def test_an_archive_cut_short_is_found_before_the_run(kept, archive):
    archive.write_bytes(archive.read_bytes()[:kept])
    refused(archive, r"x\.zip is not a whole zip archive \(.*\); copy or down")


def test_a_member_outside_the_archive_is_found_before_the_run(archive):
    rewritten(archive, PACKED, lambda _: 10**6)
    refused(archive, r"x\.zip is not .* \(b/2\.png is not within it\); ")


def test_an_archive_without_images_is_refused(tmp_path):
    path = zip_of(tmp_path / "x.zip", {"readme.txt": b"hello"})
    refused(path, r"x\.zip has no images; give class folders")


def test_labels_in_the_archive_that_cannot_be_read_are_named(tmp_path):
    path = zip_of(tmp_path / "x.zip", {"1.png": GREY, "labels.csv": b"1.png,0\n"})
    rewritten(path, CRC, lambda crc: crc ^ 1)
    refused(path, r"x\.zip: the labels in labels\.csv cannot be read .*; ")
    (tmp_path / "given.csv").write_text("1.png,0\n")
    assert len(open_images(path, tmp_path / "given.csv")) == 1


def test_backslashes_are_slashes(tmp_path):
    members = {"val\\": b"", "val\\a\\1.png": GREY, "val\\b\\2.png": LIGHT, "train\\a\\3.png": GREY}
    images = open_images(zip_of(tmp_path / "x.zip", members))
    assert contents(images) == {"val/a/1.png": GREY, "val/b/2.png": LIGHT}


def test_names_in_utf8_are_read_without_the_flag_that_says_so(tmp_path):
    path = zip_of(tmp_path / "x.zip", {"été/1.png": GREY, "b/2.png": LIGHT})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = content.index(mark)
        struct.pack_into("<H", content, at + offset, 0)
    path.write_bytes(content)
    assert open_images(path).labels.classes == ("b", "été")
