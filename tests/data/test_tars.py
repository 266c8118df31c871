"""Archives are read as unpacking would leave them, and what is left out is named."""

import io
import tarfile

import numpy as np
import pytest

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.errors import DataError
from tests.digits import png, tar_of

ONE, TWO = (png(np.full((8, 8, 3), grey, np.uint8)) for grey in (50, 200))


def archive(path, *members):
    """Write members in this order: bytes as a file, ``->x`` as a symbolic, ``=x`` as a hard link."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
                continue
            symbolic = content.startswith("->")
            entry.type = tarfile.SYMTYPE if symbolic else tarfile.LNKTYPE
            entry.linkname = content[2 if symbolic else 1 :]
            tar.addfile(entry)
    return path


def contents(images):
    return {name: images.source.read(i) for i, name in enumerate(images.names)}


def test_of_a_name_that_stands_twice_the_last_counts(tmp_path):
    tar = archive(tmp_path / "x.tar", ("a/1.png", ONE), ("b/2.png", ONE), ("./a/1.png", TWO))
    images = open_images(tar)
    assert contents(images) == {"a/1.png": TWO, "b/2.png": ONE}
    assert images.notes == ("x.tar: more than once in the archive: a/1.png; the last copy is used",)


def test_links_are_the_files_that_they_lead_to(tmp_path):
    tar = archive(
        tmp_path / "x.tar",
        ("a/1.png", ONE), ("b/2.png", "=a/1.png"), ("b/3.png", "->../a/1.png"),
        ("b/4.png", "->3.png"), ("b/readme", "->/nowhere"),
    )  # fmt: skip
    images = open_images(tar)
    assert contents(images) == dict.fromkeys(("a/1.png", "b/2.png", "b/3.png", "b/4.png"), ONE)
    assert images.notes == (
        "not read: 1 link to nothing, or back to a folder above; the first is b/readme",
    )


@pytest.mark.parametrize("target", ["->/data/1.png", "=gone.png", "->2.png"])
def test_a_link_that_leads_nowhere_is_refused(target, tmp_path):
    tar = archive(tmp_path / "x.tar", ("a/1.png", ONE), ("a/2.png", target))
    with pytest.raises(DataError, match=r"contains a/2.png as a link to .*, which is not in it; "):
        open_images(tar)


@pytest.mark.parametrize("root", ["", "imagenet/"])
def test_of_train_and_val_only_val_is_taken(root, tmp_path):
    names = [f"{root}{name}" for name in ("train/a/1.png", "train/b/2.png", "val/a/3.png")]
    tar = tar_of(tmp_path / "x.tar", dict.fromkeys([*names, f"{root}val/b/4.png"], ONE))
    images = open_images(tar)
    assert images.names == (f"{root}val/a/3.png", f"{root}val/b/4.png")
    assert images.labels is not None
    assert images.labels.classes == ("a", "b")
    assert images.notes == (
        f"not read: 2 images outside the split 'val'; the first is {root}train/a/1.png",
    )


def test_the_class_is_the_first_folder_that_is_not_shared(tmp_path):
    """As in class folders on a disk, where images may lie deeper."""
    tar = tar_of(tmp_path / "x.tar", {"set/n1/images/1.png": ONE, "set/n2/images/2.png": ONE})
    labels = open_images(tar).labels
    assert labels is not None
    assert labels.classes == ("n1", "n2")


def test_an_image_beside_class_folders_is_left_out_and_named(tmp_path):
    tar = tar_of(tmp_path / "x.tar", dict.fromkeys(("a/1.png", "b/2.png", "logo.png"), ONE))
    images = open_images(tar)
    assert images.names == ("a/1.png", "b/2.png")
    assert images.notes == ("not read: 1 image beside the class folders; the first is logo.png",)


def test_the_image_of_a_sample_has_its_key_and_one_ending(tmp_path):
    tar = archive(
        tmp_path / "x.tar",
        ("1.seg.png", TWO), ("1.png", ONE), ("1.cls", b"3"), ("2.png", "=1.png"), ("2.cls", "=1.cls"),
    )  # fmt: skip
    images = open_images(tar)
    assert contents(images) == {"1.png": ONE, "2.png": ONE}
    assert images.labels is not None
    assert images.labels.values.tolist() == [3, 3]
    assert images.notes == (
        "not read: 1 image beside those of the samples, KEY.ENDING; the first is 1.seg.png",
    )


def test_a_sample_of_two_images_is_refused(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"1.png": ONE, "1.jpg": TWO, "1.cls": b"3"})
    with pytest.raises(
        DataError, match=r"the sample 1 in .* has two images, 1.png and 1.jpg; keep"
    ):
        open_images(tar)


def test_a_shard_with_a_repeated_member_says_which(tmp_path):
    tar = archive(tmp_path / "s.tar", ("1.png", ONE), ("1.cls", b"3"), ("1.png", TWO))
    images = open_images(tar)
    assert contents(images) == {"1.png": TWO}
    assert images.notes[0].startswith("s.tar: more than once in the archive: 1.png; the last")


@pytest.mark.parametrize("between", [b"", bytes(512), bytes(3 * 2**20)])
def test_archives_that_were_joined_are_all_read(between, tmp_path):
    parts = [tar_of(tmp_path / f"{n}.tar", {f"{n}/{n}.png": c}) for n, c in ((1, ONE), (2, TWO))]
    joined = tmp_path / "x.tar"
    joined.write_bytes(between.join(part.read_bytes() for part in parts) + bytes(1024))
    images = open_images(joined)
    assert contents(images) == {"1/1.png": ONE, "2/2.png": TWO}
    assert images.notes == ("x.tar: it is 2 archives joined to one, and all of them are read",)


def test_joined_shards_are_all_read(tmp_path):
    parts = [tar_of(tmp_path / f"{n}", {f"{n}.png": ONE, f"{n}.cls": b"3"}) for n in (1, 2)]
    (tmp_path / "x.tar").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert open_images(tmp_path / "x.tar").names == ("1.png", "2.png")


def test_what_is_behind_an_archive_and_is_none_is_named(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"1/1.png": ONE, "2/2.png": TWO})
    tar.write_bytes(tar.read_bytes() + b"no header" * 100)
    images = open_images(tar)
    assert len(images) == 2
    assert images.notes == ("x.tar: 900 bytes behind its end are not read",)


@pytest.mark.parametrize("kept", [700, 1536, 2600])
def test_a_second_archive_cut_short_is_found_before_the_run(kept, tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"1/1.png": bytes(600), "2/2.png": bytes(600)})
    tar.write_bytes(tar.read_bytes() + tar.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut short|not a whole tar archive"):
        open_images(tar)


def test_a_key_with_dots_is_the_name_up_to_the_last_one(tmp_path):
    members = {"img.0001.png": ONE, "img.0001.cls": b"3", "img.0002.png": TWO, "img.0002.cls": b"4"}
    images = open_images(tar_of(tmp_path / "x.tar", members))
    assert images.names == ("img.0001.png", "img.0002.png")
    assert images.labels is not None
    assert images.labels.values.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("image", "label"),
    [("0.input.png", "0.target.cls"), ("0.rgb.png", "0.cls"), ("0.PNG", "0.CLS"),
     ("0.png", "0.target.Json"), ("d.x/a.input.png", "d.x/a.target.cls")],
)  # fmt: skip
def test_the_image_and_the_class_of_a_sample_may_be_fields_of_any_name(image, label, tmp_path):
    content = b'{"label": 3}' if label.lower().endswith("json") else b"3"
    images = open_images(tar_of(tmp_path / "x.tar", {image: ONE, label: content, "0.txt": b"?"}))
    assert images.names == (image,)
    assert images.labels is not None
    assert images.labels.values.tolist() == [3]


def test_of_two_fields_with_images_none_is_chosen(tmp_path):
    members = {"0.input.png": ONE, "0.mask.png": TWO, "0.target.cls": b"3"}
    with pytest.raises(DataError, match=r"two images, 0\.input\.png and 0\.mask\.png; keep one"):
        open_images(tar_of(tmp_path / "x.tar", members))


def test_numbers_in_keys_are_not_fields(tmp_path):
    members = {"img.0001.cls": b"3", "img.0002.png": ONE, "img.0003.png": ONE, "img.0003.cls": b"1"}
    with pytest.raises(DataError, match=r"the sample img\.0002 in .* has an image but no \.cls"):
        open_images(tar_of(tmp_path / "x.tar", members))


def test_notes_beside_images_do_not_make_a_webdataset(tmp_path):
    names = ("a/1.png", "b/2.png", "a/1.json", "b/2.json")
    tar = tar_of(tmp_path / "x.tar", {n: ONE if n.endswith("png") else b'{"by": 1}' for n in names})
    images = open_images(tar)
    assert images.labels is not None
    assert images.labels.classes == ("a", "b")
    assert images.notes == ("x.tar: no .json beside an image has a 'label'; the first is a/1.json",)
    flat = tar_of(tmp_path / "y.tar", {"1.png": ONE, "1.json": b'{"cls": 3}'})
    with pytest.raises(DataError, match=r"without their classes \(y\.tar: no \.json .* 1\.json\)"):
        open_images(flat)
