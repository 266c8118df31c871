"""A label file may write names and classes in many ways; what it does not tell is refused."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2mlp_cli.data.detect import open_images
from tests.data.sets import classes, refused
from tests.digits import GREY, fill, tar_of

NAMES = tuple(f"ILSVRC2012_val_{number:08d}" for number in (1, 2, 3))


def given(root, text, *names):
    """Write images, by default those of ``NAMES``, and a table; return both paths."""
    folder = fill(root / "set", *(names or (f"{name}.JPEG" for name in NAMES)))
    (root / "given").write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder, root / "given"


def labelled(root, text, *names, **chosen):
    folder, table = given(root, text, *names)
    return open_images(folder, table, **chosen)


def mislabelled(message, root, text, *names):
    folder, table = given(root, text, *names)
    refused(folder, message, table)


def test_classes_that_number_their_images_alike_are_told_apart_by_their_folders(tmp_path):
    text = "file,label\ng0/001.png,4\ng1/001.png,7\n"
    found = classes(labelled(tmp_path, text, "g0/001.png", "g1/001.png"))
    assert found == {"g0/001.png": 4, "g1/001.png": 7}


@pytest.mark.parametrize("prefix", ["data/", "/old/place/data/", "./", "C:\\data\\"])
def test_a_table_may_be_written_from_another_folder(prefix, tmp_path):
    text = "\n".join(f"{prefix}{name},{label}" for name, label in (("a/1.png", 4), ("b/1.png", 7)))
    text = text.replace("/", "\\") if "\\" in prefix else text
    assert classes(labelled(tmp_path, text, "a/1.png", "b/1.png")) == {"a/1.png": 4, "b/1.png": 7}
    found = classes(labelled(tmp_path / "y", text, "moved/a/1.png", "moved/b/1.png"))
    assert list(found.values()) == [4, 7]


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    (tmp_path / "y").mkdir()


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (
            "old/1.png,4\nnew/1.png,7\n", ("1.png",),
            r"several labels for '1.png': those of 'old/1.png' and 'new/1.png'; write",
        ),
        (
            "1.png,4\n", ("a/1.png", "b/1.png"),
            r"the label of '1.png' fits 'a/1.png' as well as 'b/1.png'; write",
        ),
        (
            "b/1.png,4\n", ("a/1.png", "b/1.png"),
            r"no label for 1 of the 2 images, the first is 'a/1.png'",
        ),
        (
            "c/1.png,4\nb/2.png,5\n", ("a/1.png", "b/2.png"),
            r"no label for 1 of the 2 images, .* 'a/1.png'",
        ),
        (
            "a_1.png,3\na_2.png,4\na_3.png,5\n", ("a_2.png", "a_3.png"),
            r"there are 2 images, fewer than the 3 labels .* 'a_1.png'",
        ),
        (
            "".join(f"{i},{name}.JPEG,{i + 5},{9 - i}\n" for i, name in enumerate(NAMES)), (),
            r"has 4 columns, and nothing tells which has the classes; name it 'label'",
        ),
    ],
    ids=["two labels", "two images", "another folder", "a third", "no header", "columns"],
)  # fmt: skip
def test_labels_that_do_not_tell_each_image_apart_are_refused(text, names, message, tmp_path):
    mislabelled(message, tmp_path, text, *names)


@pytest.mark.parametrize(
    "head",
    ["ImageId,Class", "image_id,label", "Bild,Klasse", "file,label", "the image,its class", "x,y",
     "label,image", "idx;name;wnid", None],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["numbers", "names"])
def test_a_header_of_any_words_is_recognised(head, kind, tmp_path):
    labels = (5, 7, 9) if kind == "numbers" else ("n05", "n07", "n09")
    rows = [[name, str(label)] for name, label in zip(NAMES, labels, strict=True)]
    mark = ";" if head and ";" in head else ","
    if head and head.startswith("label"):
        rows = [row[::-1] for row in rows]
    if mark == ";":
        rows = [[str(i), *row] for i, row in enumerate(rows)]
    text = "\n".join([*([head] if head else []), *(mark.join(row) for row in rows)])
    images = labelled(tmp_path, text)
    assert list(classes(images).values()) == list(labels)
    unknown = head in ("Bild,Klasse", "the image,its class")
    assert bool(images.notes) == unknown
    fewer = labelled(tmp_path / "y", text, *(f"{name}.JPEG" for name in NAMES[1:]), partial=True)
    assert list(classes(fewer).values()) == list(labels)[1:]


@pytest.mark.parametrize("mark", [",", ";", "\t", " ", "   "])
def test_columns_may_be_separated_by_other_marks(mark, tmp_path):
    text = "\n".join(f"{name}.JPEG{mark}{label}" for label, name in enumerate(NAMES, 5))
    assert list(classes(labelled(tmp_path, text)).values()) == [5, 6, 7]


def test_names_with_blanks_are_read_to_the_last_one(tmp_path):
    images = labelled(tmp_path, "my cat.png 3\na dog 1.png 4\n", "my cat.png", "a dog 1.png")
    assert classes(images) == {"a dog 1.png": 4, "my cat.png": 3}


def test_a_table_of_powershell_is_read(tmp_path):
    folder, table = given(tmp_path, "", "1.png", "2.png")
    table.write_bytes("1.png,3\r\n2.png,4\r\n".encode("utf-16"))
    assert list(classes(open_images(folder, table)).values()) == [3, 4]


def test_val_txt_beside_the_images_is_found(tmp_path):
    fill(tmp_path / "val", *(f"{name}.JPEG" for name in NAMES))
    (tmp_path / "val.txt").write_text("".join(f"{name}.JPEG {i}\n" for i, name in enumerate(NAMES)))
    images = open_images(tmp_path / "val")
    assert list(classes(images).values()) == [0, 1, 2]
    assert images.labels.origin == f"the table {tmp_path}/val.txt"
    assert list(classes(open_images(tmp_path)).values()) == [0, 1, 2]


GROUPS = "g0/1.png,7\ng0/2.png,4\ng1/3.png,7\n"


@pytest.mark.parametrize("form", ["disk", "tar"])
def test_a_table_that_names_all_the_images_goes_before_the_names_of_folders(form, tmp_path):
    """The folders may be groups of any kind."""
    folder = fill(tmp_path / "set", "g0/1.png", "g0/2.png", "g1/3.png")
    (folder / "labels.csv").write_text(GROUPS)
    path, table = folder, folder / "labels.csv"
    if form == "tar":
        members = dict.fromkeys(("g0/1.png", "g0/2.png", "g1/3.png"), GREY)
        path = tar_of(tmp_path / "x.tar", {**members, "labels.csv": GROUPS.encode()})
        table = path / "labels.csv"
    images = open_images(path)
    assert list(classes(images).values()) == [7, 4, 7]
    assert images.notes == (
        f"the classes are those of {table}, which names all the images; --labels folders takes the "
        "names of the folders",
    )
    by_folder = open_images(path, "folders")
    assert list(classes(by_folder).values()) == ["g0", "g0", "g1"]
    assert by_folder.notes == ()


def test_a_table_of_other_images_leaves_the_classes_to_the_folders(tmp_path):
    folder = fill(tmp_path / "set", "g0/1.png", "g1/2.png")
    (folder / "labels.csv").write_text("g0/1.png,7\n")
    images = open_images(folder)
    assert list(classes(images).values()) == ["g0", "g1"]
    assert images.notes == (
        f"the classes are the names of the class folders, since {folder}/labels.csv has no label "
        "for 1 of the 2 images, the first is 'g1/2.png'",
    )


def test_synsets_and_what_a_table_says_alike_are_classes(tmp_path):
    for names, text in (
        (("n00000001", "n00000002"), "1.png,7\n2.png,4\n"),
        (("a", "b"), "1,a\n2,b\n"),
    ):
        folder = fill(tmp_path / names[0], *(f"{n}/{i}.png" for i, n in enumerate(names, 1)))
        table = folder / "labels.csv"
        table.write_text(text)
        images = open_images(folder)
        assert list(classes(images).values()) == list(names)
        assert images.notes == (
            f"{table} is not read, since the labels are from the names of the class folders; "
            "choose it with --labels",
        )
        assert open_images(folder, table).notes == ()


def test_labels_by_folders_need_class_folders(tmp_path):
    message = "has no class folders; give a label file with --labels"
    refused(fill(tmp_path / "set", "1.png"), message, "folders")


def test_tiny_imagenet_is_read_as_it_is(tmp_path):
    """train/CLASS/images, val/images with boxes beside the classes, test/images without labels."""
    fill(tmp_path, *(f"train/{n}/images/{n}_0.JPEG" for n in ("n01443537", "n01629819")))
    fill(tmp_path, "test/images/test_0.JPEG", "val/images/val_0.JPEG", "val/images/val_1.JPEG")
    boxes = "val_0.JPEG\tn01629819\t0\t32\t44\t62\nval_1.JPEG\tn01443537\t52\t55\t57\t59\n"
    (tmp_path / "val" / "val_annotations.txt").write_text(boxes)
    (tmp_path / "wnids.txt").write_text("n01443537\nn01629819\n")
    images = open_images(tmp_path)
    assert classes(images) == {"val_0.JPEG": "n01629819", "val_1.JPEG": "n01443537"}
    assert images.notes == (
        "not read: 3 images outside the split 'val'; the first is test/images/test_0.JPEG",
    )
    members = {
        str(f.relative_to(tmp_path)): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()
    }
    archived = open_images(tar_of(tmp_path / "y" / "tiny.tar", members))
    assert list(classes(archived).values()) == ["n01629819", "n01443537"]


def test_columns_beside_those_of_names_and_classes_need_a_header(tmp_path):
    rows = "".join(f"{i},{name}.JPEG,{i + 5},{9 - i}\n" for i, name in enumerate(NAMES))
    found = classes(labelled(tmp_path, f",file,label,votes\n{rows}"))
    assert list(found.values()) == [5, 6, 7]


@pytest.mark.parametrize(
    ("cell", "what"),
    [('"[0, 1, 0]"', r"'a list of 3' \(list\)"), ("[[3]]", r"'a list of 1' \(list\)"),
     *((cell, rf"'{cell}' \(str\)") for cell in ("-1", "0.5", "nan", "-0.5"))],
)  # fmt: skip
def test_a_cell_that_is_not_a_class_is_refused(cell, what, tmp_path):
    text = f"1.png,{cell}\n2.png,{cell}\n"
    mislabelled(rf"line 1: the label {what} is neither", tmp_path, text, "1.png", "2.png")


def test_a_list_of_one_class_is_that_class(tmp_path):
    images = labelled(tmp_path, "1.png,[3]\n2.png,[4]\n", "1.png", "2.png")
    assert list(classes(images).values()) == [3, 4]


def test_a_list_of_files_may_be_a_table_of_any_form(tmp_path):
    fill(tmp_path, "i/1.png", "i/2.png")
    (tmp_path / "list.txt").write_text("i/2.png 7\ni/1.png 3\n")
    assert classes(open_images(tmp_path / "list.txt")) == {"i/2.png": 7, "i/1.png": 3}
    (tmp_path / "list.tsv").write_text("Bild\tKlasse\ni/2.png\t7\ni/1.png\t3\n")
    assert classes(open_images(tmp_path / "list.tsv")) == {"i/2.png": 7, "i/1.png": 3}


def parquet(root, *labels):
    rows = [{"bytes": GREY, "path": f"{i}.png"} for i in range(len(labels))]
    pq.write_table(pa.table({"image": rows, "label": list(labels)}), root / "x.parquet")
    return root / "x.parquet"


def test_a_cell_of_brackets_without_end_is_a_name(tmp_path):
    images = labelled(tmp_path, f"1.png,{'[' * 9999}\n2.png,b\n", "1.png", "2.png")
    assert list(classes(images).values()) == ["[" * 9999, "b"]


@pytest.mark.parametrize(
    ("labels", "values"),
    [([3, 4], [3, 4]), ([3.0, 4.0], [3, 4]), ([[3], [4]], [3, 4]), (["b", "a"], ["b", "a"]),
     ([["b"], ["a"]], ["b", "a"])],
)  # fmt: skip
def test_a_column_of_parquet_may_have_numbers_names_or_lists_of_one(labels, values, tmp_path):
    assert list(classes(open_images(parquet(tmp_path, *labels))).values()) == values


@pytest.mark.parametrize(
    ("labels", "what"),
    [([[0, 1], [1, 0]], r"'a list of 2' \(list\)"), ([[], [1]], r"'a list of 0' \(list\)"), ([True, False], r"'True' \(bool\)"),
     ([0.5, 1.0], r"'0.5' \(float\)"), ([float("nan"), 1.0], r"'nan' \(float\)"), ([b"1", b"2"], r"'b'1'' \(bytes\)"),
     ([{"a": 1}, {"a": 2}], r".* \(dict\)"), ([-2, 1], r"'-2' \(int\)"), (["", "a"], r"'' \(str\)")],
)  # fmt: skip
def test_a_column_of_another_type_is_refused(labels, what, tmp_path):
    message = rf"row 0 has the label {what} is neither a whole number"
    refused(parquet(tmp_path, *labels), message)


def test_the_label_of_a_sample_may_be_a_list_of_one_but_no_more(tmp_path):
    members = {
        "1.png": GREY,
        "1.json": b"\xef\xbb\xbf" + b'{"label": [3]}',
    }  # with the mark of Windows
    assert classes(open_images(tar_of(tmp_path / "x.tar", members))) == {"1.png": 3}
    members["1.json"] = b'{"label": [0, 1, 0]}'
    message = r"1\.json does not contain a class number \('\[0, 1, 0\]'"
    refused(tar_of(tmp_path / "x.tar", members), message)


def test_a_label_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("s2mlp_cli.data.label_files.is_archive", forbidden)
    message = r"given cannot be read \(Permission denied\); check the path and its"
    mislabelled(message, tmp_path, "1.png,3\n", "1.png")


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_parquet_is_read_under_a_name_that_is_not_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.parquet")
    os.rename(parquet(tmp_path, 1), path)
    images = open_images(path)
    assert images.source.read(0) == GREY
