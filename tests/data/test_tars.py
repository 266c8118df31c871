"""Archives are read as unpacking would leave them, and what is left out is named."""

import pytest

from s2mlp_cli.data.detect import open_images
from tests.data.sets import LIGHT, archive, classes, contents, refused
from tests.digits import GREY, tar_of


@pytest.mark.parametrize("form", ["x.tar", "x.zip"])
def test_of_a_repeated_name_the_last_copy_is_used(form, tmp_path):
    members = ("a/1.png", GREY), ("b/2.png", GREY), ("./a/1.png", LIGHT)
    images = open_images(archive(tmp_path / form, *members))
    assert contents(images) == {"a/1.png": LIGHT, "b/2.png": GREY}
    assert images.notes == (
        f"{form}: more than once in the archive: a/1.png; the last copy is used",
    )


def test_links_are_the_files_that_they_lead_to(tmp_path):
    tar = archive(
        tmp_path / "x.tar",
        ("a/1.png", GREY), ("b/2.png", "=/a/1.png"), ("b/3.png", "->../a/1.png"),
        ("b/4.png", "->3.png"), ("b/readme", "->/nowhere"),
    )  # fmt: skip
    images = open_images(tar)
    assert contents(images) == dict.fromkeys(("a/1.png", "b/2.png", "b/3.png", "b/4.png"), GREY)
    assert images.notes == (
        "not read: 1 link to nothing, or back to a folder above; the first is b/readme",
    )


@pytest.mark.parametrize("target", ["->/data/1.png", "=gone.png", "->2.png"])
def test_a_link_that_leads_nowhere_is_refused(target, tmp_path):
    tar = archive(tmp_path / "x.tar", ("a/1.png", GREY), ("a/2.png", target))
    refused(tar, r"contains a/2.png as a link to .*, which is not in it; ")


def test_the_image_of_a_sample_has_its_key_and_one_ending(tmp_path):
    tar = archive(
        tmp_path / "x.tar",
        ("1.seg.png", LIGHT), ("1.png", GREY), ("1.cls", b"3"), ("2.png", "=1.png"), ("2.cls", "=1.cls"),
    )  # fmt: skip
    images = open_images(tar)
    assert contents(images) == {"1.png": GREY, "2.png": GREY}
    assert images.labels.values.tolist() == [3, 3]
    assert images.notes == (
        "not read: 1 image beside those of the samples, KEY.ENDING; the first is 1.seg.png",
    )


def test_a_sample_of_two_images_is_refused(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"1.png": GREY, "1.jpg": LIGHT, "1.cls": b"3"})
    refused(tar, r"the sample 1 in .* has two images, 1.png and 1.jpg; keep")


def test_a_shard_with_a_repeated_member_says_which(tmp_path):
    tar = archive(tmp_path / "s.tar", ("1.png", GREY), ("1.cls", b"3"), ("1.png", LIGHT))
    images = open_images(tar)
    assert contents(images) == {"1.png": LIGHT}
    assert images.notes[0].startswith("s.tar: more than once in the archive: 1.png; the last")


@pytest.mark.parametrize("between", [b"", bytes(512), bytes(3 * 2**20)])
def test_archives_that_were_joined_are_all_read(between, tmp_path):
    parts = [tar_of(tmp_path / f"{n}.tar", {f"{n}/{n}.png": c}) for n, c in ((1, GREY), (2, LIGHT))]
    joined = tmp_path / "x.tar"
    joined.write_bytes(between.join(part.read_bytes() for part in parts) + bytes(1024))
    images = open_images(joined)
    assert contents(images) == {"1/1.png": GREY, "2/2.png": LIGHT}
    assert images.notes == ("x.tar: it is 2 archives joined to one, and all of them are read",)


def test_joined_shards_are_all_read(tmp_path):
    parts = [tar_of(tmp_path / f"{n}", {f"{n}.png": GREY, f"{n}.cls": b"3"}) for n in (1, 2)]
    (tmp_path / "x.tar").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert open_images(tmp_path / "x.tar").names == ("1.png", "2.png")


def test_bytes_behind_an_archive_are_named(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"1/1.png": GREY, "2/2.png": LIGHT})
    tar.write_bytes(tar.read_bytes() + b"no header" * 100)
    images = open_images(tar)
    assert len(images) == 2
    assert images.notes == ("x.tar: 900 bytes behind its end are not read",)


@pytest.mark.parametrize("kept", [700, 1536, 2600])
def test_a_second_archive_cut_short_is_found_before_the_run(kept, tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"1/1.png": bytes(600), "2/2.png": bytes(600)})
    tar.write_bytes(tar.read_bytes() + tar.read_bytes()[:kept])
    refused(tar, r"cut short|not a whole tar archive")


@pytest.mark.parametrize("kept", [700, 1200, 1536, 2048, 2600])
def test_a_tar_cut_short_is_found_before_the_run(tmp_path, kept):
    tar = tar_of(tmp_path / "x.tar", {"a/1.png": bytes(600), "b/2.png": bytes(600)})
    tar.write_bytes(tar.read_bytes()[:kept])
    refused(tar, r"cut short|not a whole tar archive")


def test_a_compressed_tar_cannot_be_read_in_place(tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"a/1.png": GREY}, "w:gz")
    refused(tar, r"is compressed, so its images cannot be read in place; decompress it first")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"1.png": GREY, "1.cls": b"3", "2.png": GREY},
            r"the sample 2 .* has an image but no .cls",
        ),
        ({"1.png": GREY, "1.cls": b"cat"}, r"x.tar: 1.cls does not"),
        (
            {"0.input.png": GREY, "0.mask.png": LIGHT, "0.target.cls": b"3"},
            r"two images, 0\.input\.png and 0\.mask\.png; keep one",
        ),
        (
            {"img.1.cls": b"3", "img.2.png": GREY, "img.3.png": GREY, "img.3.cls": b"1"},
            r"the sample img\.2 in .* has an image but no \.cls",
        ),
    ],
)
def test_a_sample_that_does_not_tell_its_image_or_class_is_refused(members, message, tmp_path):
    refused(tar_of(tmp_path / "x.tar", members), message)


def test_a_key_with_dots_is_the_name_up_to_the_last_one(tmp_path):
    members = {
        "img.0001.png": GREY,
        "img.0001.cls": b"3",
        "img.0002.png": LIGHT,
        "img.0002.cls": b"4",
    }
    images = open_images(tar_of(tmp_path / "x.tar", members))
    assert images.names == ("img.0001.png", "img.0002.png")
    assert images.labels.values.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("image", "label"),
    [("0.input.png", "0.target.cls"), ("0.rgb.png", "0.cls"), ("0.PNG", "0.CLS"),
     ("0.png", "0.target.Json"), ("d.x/a.input.png", "d.x/a.target.cls")],
)  # fmt: skip
def test_the_image_and_the_class_of_a_sample_may_be_fields_of_any_name(image, label, tmp_path):
    content = b'{"label": 3}' if label.lower().endswith("json") else b"3"
    images = open_images(tar_of(tmp_path / "x.tar", {image: GREY, label: content, "0.txt": b"?"}))
    assert classes(images) == {image: 3}


def test_notes_beside_images_do_not_make_a_webdataset(tmp_path):
    names = ("a/1.png", "b/2.png", "a/1.json", "b/2.json")
    tar = tar_of(
        tmp_path / "x.tar", {n: GREY if n.endswith("png") else b'{"by": 1}' for n in names}
    )
    images = open_images(tar)
    assert images.labels.classes == ("a", "b")
    assert images.notes == ("x.tar: no .json beside an image has a 'label'; the first is a/1.json",)
    flat = tar_of(tmp_path / "y.tar", {"1.png": GREY, "1.json": b'{"cls": 3}'})
    refused(flat, r"without their classes \(y\.tar: no \.json .* 1\.json\)")
