"""What is in folders is read alike on a disk and in archives, and what is not read is named."""

import io
import os
import re
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image, features

from s2mlp_cli.data import folders as folders_module
from s2mlp_cli.data.detect import open_images
from s2mlp_cli.errors import DataError
from tests.digits import GREY, fill, png, tar_of, zip_of

OTHER = png(np.full((8, 8, 3), 200, np.uint8))


def encoded(form):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 99, 199)).save(stream, form)
    return stream.getvalue()


def in_every_form(root, members):
    for name, content in members.items():
        fill(root / "disk", name, content=content)
    sources = (root / "disk", tar_of(root / "x.tar", members), zip_of(root / "x.zip", members))
    return {str(source.name): open_images(source) for source in sources}


def read(images):
    return {name: images.source.read(i) for i, name in enumerate(images.names)}


@pytest.mark.parametrize(
    ("ending", "form"),
    [(".jfif", "JPEG"), (".jpe", "JPEG"), (".pgm", "PPM"), (".jpg_large", "JPEG"), ("", "PNG"),
     (".TIFF", "TIFF"), (".0001", "BMP"), (".image", "GIF"), (".avif", "AVIF"), (".webp", "WEBP")],
)  # fmt: skip
def test_an_image_is_read_under_any_ending_and_without_one(ending, form, tmp_path):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    members = {
        f"a/1{ending}": encoded(form),
        "b/2.png": GREY,
        "a/notes": b"not one",
        "b/x.txt": GREY,
    }
    for images in in_every_form(tmp_path, members).values():
        assert [name.rpartition("/")[2] for name in images.names] == [f"1{ending}", "2.png"]
        assert images.notes == ()
        assert images.source.read(0) == members[f"a/1{ending}"]


def test_an_image_that_pillow_cannot_read_is_named(tmp_path):
    members = {
        "a/1.heic": b"x",
        "a/2.HEIC": b"x",
        "b/3.cr2": b"x",
        "a/4.png": GREY,
        "b/5.png": GREY,
    }
    for images in in_every_form(tmp_path, members).values():
        assert len(images) == 2
        assert images.notes == (
            "not read: 2 images in a format that Pillow cannot read here (.heic); the first is a/1.heic",
            "not read: 1 image in a format that Pillow cannot read here (.cr2); the first is b/3.cr2",
        )
    with pytest.raises(DataError, match=r"has no images \(not read: 1 image in a format .*1.heic"):
        open_images(tar_of(tmp_path / "y.tar", {"a/1.heic": b"x"}))


@pytest.mark.parametrize(
    "hidden",
    ["a/.ipynb_checkpoints/1-checkpoint.png", "a/@eaDir/1.png/SYNOFILE_THUMB_M.jpg", "a/._1.png",
     "__MACOSX/a/1.png", ".thumbnails/1.png", "a/x/.git/1.png", "$RECYCLE.BIN/S-1-5/1.png", "a/Thumbnails/1.png",
     "a/~snapshot/hourly.0/1.png", "_thumbs/1.png", "a/_Thumbnails/1.png"],
)  # fmt: skip
def test_hidden_files_and_thumbnails_are_passed_over_at_every_depth(hidden, tmp_path):
    members = {"a/1.png": GREY, "b/2.png": GREY, hidden: OTHER}
    for images in in_every_form(tmp_path, members).values():
        assert read(images) == {"a/1.png": GREY, "b/2.png": GREY}
        assert images.labels is not None
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
        assert images.labels is not None
        assert images.labels.classes == ("n1", "n2")
        prefix = "" if form == "disk" else f"{above}/"
        assert images.names == (f"{prefix}n1/1.png", f"{prefix}n2/x/2.png")


def test_one_folder_is_a_class_if_it_has_the_name_of_a_synset_only(tmp_path):
    members = {"val/n01440764/1.png": GREY, "labels.csv": b"1.png,3\n"}
    for images in in_every_form(tmp_path, members).values():
        assert images.labels is not None
        assert images.labels.classes == ("n01440764",)
    members = {"val/images/1.png": GREY, "val/labels.csv": b"1.png,3\n"}
    for images in in_every_form(tmp_path / "y", members).values():
        assert images.labels is not None
        assert images.labels.values.tolist() == [3]


def test_an_empty_class_folder_beside_a_single_one_is_an_interrupted_copy(tmp_path):
    (fill(tmp_path, "n01440764/1.png") / "n01443537").mkdir()
    with pytest.raises(DataError, match=r"n01443537 has no image that can be read; add its images"):
        open_images(tmp_path)


def test_a_class_folder_with_nothing_but_a_cache_of_thumbnails_is_empty(tmp_path):
    fill(tmp_path, "n01440764/1.png", "n01443537/Thumbs.db", "n01443537/desktop.ini")
    with pytest.raises(DataError, match=r"n01443537 has no image that can be read; add its images"):
        open_images(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def forbidden(place):
        raise PermissionError(13, "Permission denied", place)

    fill(tmp_path, "a/1.png", "b/2.png")
    monkeypatch.setattr(folders_module.os, "scandir", forbidden)
    with pytest.raises(
        DataError, match=r"the folder .* cannot be read \(Permission denied\); check"
    ):
        open_images(tmp_path)


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


def archive_with_links(path, links, *names):
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size = len(GREY)
                archive.addfile(entry, io.BytesIO(GREY))
            for name, target in links.items():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
        return path
    with zipfile.ZipFile(path, "w") as zipped:
        for name in names:
            zipped.writestr(name, GREY)
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            zipped.writestr(info, target)
    return path


@pytest.mark.parametrize("form", ["x.tar", "x.zip"])
def test_links_in_archives_are_followed_as_on_a_disk(form, tmp_path):
    links = {
        "s/a/two.png": "1.png",
        "s/b/more": "../../store/b",
        "s/b/up": "..",
        "s/b/out": "/else",
    }
    names = ("s/a/1.png", "s/b/2.png", "store/b/3.png")
    path = archive_with_links(tmp_path / form, links, *names)
    with pytest.raises(DataError, match="images without their classes|has 2 classes") as caught:
        open_images(path).labels.targets(5)
    assert caught
    links = {"a/two.png": "1.png", "b/more": "../c", "b/up": "..", "b/out": "/else"}
    images = open_images(
        archive_with_links(tmp_path / form, links, "a/1.png", "b/2.png", "c/3.png")
    )
    assert images.names == ("a/1.png", "a/two.png", "b/2.png", "c/3.png")
    assert images.source.read(1) == GREY
    assert images.notes == (
        "not read: 2 links to nothing, or back to a folder above; the first is b/up",
        "not read: 1 image reached twice, through links; the first is b/more/3.png",
    )


@pytest.mark.parametrize("form", ["x.tar", "x.zip"])
def test_a_linked_folder_that_hides_its_target_is_read_by_the_link(form, tmp_path):
    links = {"a/more": "../.store/a"}
    path = archive_with_links(tmp_path / form, links, "a/1.png", "b/2.png", ".store/a/3.png")
    images = open_images(path)
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
    assert labels is not None
    assert labels.values.tolist() == [3, 7]


def test_a_path_of_two_thousand_folders_is_read_and_a_longer_one_is_refused(tmp_path):
    deep = "x/" * 2000
    images = open_images(
        zip_of(tmp_path / "x.zip", {f"{deep}a/1.png": GREY, f"{deep}b/2.png": GREY})
    )
    assert images.labels is not None
    assert images.labels.classes == ("a", "b")
    path = zip_of(tmp_path / "y.zip", {"x/" * 2100 + "1.png": GREY})
    with pytest.raises(
        DataError, match=r"y\.zip contains a path of 4,205 characters, over the limit of 4,096"
    ):
        open_images(path)
