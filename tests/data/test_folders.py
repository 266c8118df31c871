"""What is in folders is read alike on a disk and in archives, and what is not read is named."""

import io
import os
import re

import pytest
from PIL import Image, features

from s2mlp_cli.data import folders as folders_module
from s2mlp_cli.data.detect import open_images
from tests.data.sets import LIGHT, archive, classes, contents, files, in_every_form, refused
from tests.digits import GREY, fill, tar_of, zip_of


def encoded(form):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("ending", "form"),
    [(".jfif", "JPEG"), (".jpe", "JPEG"), (".pgm", "PPM"), (".jpg_large", "JPEG"), ("", "PNG"),
     (".TIFF", "TIFF"), (".0001", "BMP"), (".image", "GIF"), (".avif", "AVIF"), (".webp", "WEBP")],
)  # fmt: skip
def test_an_image_is_read_under_any_ending_and_without_one(ending, form, tmp_path):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    members = {f"a/1{ending}": encoded(form), "a/notes": b"not one"}
    members |= dict.fromkeys(("b/2.png", "b/x.txt"), GREY)
    for images in in_every_form(tmp_path, members).values():
        assert [name.rpartition("/")[2] for name in images.names] == [f"1{ending}", "2.png"]
        assert images.notes == ()
        assert images.source.read(0) == members[f"a/1{ending}"]


def test_an_image_that_pillow_cannot_read_is_named(tmp_path):
    members = dict.fromkeys(("a/1.heic", "a/2.HEIC", "b/3.cr2"), b"x")
    members |= dict.fromkeys(("a/4.png", "b/5.png"), GREY)
    for images in in_every_form(tmp_path, members).values():
        assert len(images) == 2
        assert images.notes == (
            "not read: 2 images in a format that Pillow cannot read here (.heic); the first is a/1.heic",
            "not read: 1 image in a format that Pillow cannot read here (.cr2); the first is b/3.cr2",
        )
    tar = tar_of(tmp_path / "y.tar", {"a/1.heic": b"x"})
    refused(tar, r"has no images \(not read: 1 image in a format .*1.heic")


@pytest.mark.parametrize(
    "hidden",
    ["a/.ipynb_checkpoints/1-checkpoint.png", "a/@eaDir/1.png/SYNOFILE_THUMB_M.jpg", "a/._1.png",
     "__MACOSX/a/1.png", ".thumbnails/1.png", "a/x/.git/1.png", "$RECYCLE.BIN/S-1-5/1.png", "a/Thumbnails/1.png",
     "a/~snapshot/hourly.0/1.png", "_thumbs/1.png", "a/_Thumbnails/1.png"],
)  # fmt: skip
def test_hidden_files_and_thumbnails_are_passed_over_at_every_depth(hidden, tmp_path):
    members = {"a/1.png": GREY, "b/2.png": GREY, hidden: LIGHT}
    for images in in_every_form(tmp_path, members).values():
        assert contents(images) == {"a/1.png": GREY, "b/2.png": GREY}
        assert images.labels.classes == ("a", "b")
        assert images.notes == (
            f"not read: 1 image hidden or in a folder of thumbnails; the first is {hidden}",
        )


def test_the_path_itself_may_be_hidden(tmp_path):
    assert len(open_images(fill(tmp_path / ".cache" / "val", "a/1.png", "b/2.png"))) == 2


@pytest.mark.parametrize("above", ["imagenet", "imagenet/val", "a/b/c"])
def test_folders_above_the_classes_are_stepped_through(above, tmp_path):
    members = dict.fromkeys((f"{above}/n1/1.png", f"{above}/n2/x/2.png"), GREY)
    for form, images in in_every_form(tmp_path, members).items():
        assert images.labels.classes == ("n1", "n2")
        prefix = "" if form == "disk" else f"{above}/"
        assert images.names == (f"{prefix}n1/1.png", f"{prefix}n2/x/2.png")


def test_one_folder_is_a_class_if_it_has_the_name_of_a_synset_only(tmp_path):
    members = {"val/n01440764/1.png": GREY, "labels.csv": b"1.png,3\n"}
    for images in in_every_form(tmp_path, members).values():
        assert list(classes(images).values()) == ["n01440764"]
    members = {"val/images/1.png": GREY, "val/labels.csv": b"1.png,3\n"}
    for images in in_every_form(tmp_path / "y", members).values():
        assert list(classes(images).values()) == [3]


@pytest.mark.parametrize("names", [("n1/",), ("n1/Thumbs.db", "n1/desktop.ini")])
def test_a_class_folder_without_images_is_an_interrupted_copy(names, tmp_path):
    fill(tmp_path, "n01440764/1.png", *(name for name in names if name[-1] != "/"))
    (tmp_path / "n1").mkdir(exist_ok=True)
    refused(tmp_path, r"n1 has no image that can be read; add its images")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def forbidden(place):
        raise PermissionError(13, "Permission denied", place)

    fill(tmp_path, "a/1.png", "b/2.png")
    monkeypatch.setattr(folders_module.os, "scandir", forbidden)
    refused(tmp_path, r"the folder .* cannot be read \(Permission denied\); check its permissions")


def test_linked_folders_are_followed(tmp_path):
    fill(tmp_path, "set/a/1.png", "set/b/2.png", "elsewhere/3.png", "elsewhere/deep/4.png")
    (tmp_path / "set" / "b" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "c").symlink_to(fill(tmp_path / "c", "5.png"))
    images = open_images(tmp_path / "set")
    assert images.names == ("a/1.png", "b/2.png", "b/more/3.png", "b/more/deep/4.png", "c/5.png")
    assert images.notes == ()
    assert images.source.read(2) == GREY


@pytest.mark.parametrize("target", ["..", ".", "../..", "../../..", "/", "gone"])
def test_a_loop_of_links_ends_and_is_named(target, tmp_path):
    root = fill(tmp_path / "x" / "set", "a/1.png", "b/2.png")
    (root / "b" / "link").symlink_to(target)
    images = open_images(root)
    assert images.names == ("a/1.png", "b/2.png")
    assert images.notes == (
        "not read: 1 link to nothing, or back to a folder above; the first is b/link",
    )


def test_links_across_folders_end_and_every_image_counts_once(tmp_path):
    fill(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    images = open_images(tmp_path)
    assert images.names == ("a/1.png", "b/2.png")
    assert re.search(r"2 images reached twice, through links; .* a/to_b/2.png", str(images.notes))


def test_an_image_that_two_links_show_counts_once(tmp_path):
    fill(tmp_path, "set/a/1.png", "set/b/2.png", "out/3.png")
    for name in ("first", "second"):
        (tmp_path / "set" / "b" / name).symlink_to("../../out")
    images = open_images(tmp_path / "set")
    assert images.names == ("a/1.png", "b/2.png", "b/first/3.png")
    assert images.notes == (
        "not read: 1 image reached twice, through links; the first is b/second/3.png",
    )


@pytest.mark.parametrize("form", ["x.tar", "x.zip"])
def test_links_in_archives_are_followed_as_on_a_disk(form, tmp_path):
    links = {"a/two.png": "->1.png", "b/more": "->../c", "b/up": "->..", "b/out": "->/else"}
    members = files("a/1.png", "b/2.png", "c/3.png")
    images = open_images(archive(tmp_path / form, *members, *links.items()))
    assert images.names == ("a/1.png", "a/two.png", "b/2.png", "c/3.png")
    assert images.source.read(1) == GREY
    assert images.notes == (
        "not read: 2 links to nothing, or back to a folder above; the first is b/up",
        "not read: 1 image reached twice, through links; the first is b/more/3.png",
    )


@pytest.mark.parametrize("form", ["x.tar", "x.zip"])
def test_a_linked_folder_that_hides_its_target_is_read_by_the_link(form, tmp_path):
    members = files("a/1.png", "b/2.png", ".store/a/3.png")
    images = open_images(archive(tmp_path / form, *members, ("a/more", "->../.store/a")))
    assert images.names == ("a/1.png", "a/more/3.png", "b/2.png")


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_names_that_are_not_utf8_are_read_raw(tmp_path):
    fill(tmp_path, "a/1.png", "b/2.png")
    os.rename(os.fsencode(tmp_path) + b"/b", os.fsencode(tmp_path) + b"/\xe9t\xe9")
    os.rename(os.fsencode(tmp_path) + b"/a/1.png", os.fsencode(tmp_path) + b"/a/\xff.png")
    images = open_images(tmp_path)
    assert [os.fsencode(name) for name in images.names] == [b"a/\xff.png", b"\xe9t\xe9/2.png"]
    assert [images.source.read(i) for i in range(2)] == [GREY, GREY]
    (tmp_path / "l.csv").write_bytes(b"\xe9t\xe9/2.png,7\na/\xff.png,3\n")
    labels = open_images(tmp_path, tmp_path / "l.csv").labels
    assert labels.values.tolist() == [3, 7]


def test_a_path_of_two_thousand_folders_is_read_and_a_longer_one_is_refused(tmp_path):
    deep = "x/" * 2000
    members = {f"{deep}a/1.png": GREY, f"{deep}b/2.png": GREY}
    assert open_images(zip_of(tmp_path / "x.zip", members)).labels.classes == ("a", "b")
    path = zip_of(tmp_path / "y.zip", {"x/" * 2100 + "1.png": GREY})
    refused(path, r"y\.zip contains a path of 4,205 characters, over the limit of 4,096")
