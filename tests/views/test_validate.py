"""A validation on a terminal of 80 columns."""

import base64
import io

import pytest
from PIL import Image

from s2mlp_cli.errors import RecordError
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.reading import read_record
from s2mlp_cli.records.source import ModelSource
from s2mlp_cli.records.validate import LabelOrder, Mistake, Published, RealScore
from s2mlp_cli.views.validate import sheet, view
from tests import samples
from tests.views import shown

EXPECTED = """\
v2-small (digits.safetensors): top-1 90.00% on 300 images (270 correct)

v2-small (digits.safetensors): scores
Score                     Value   95 % interval  Published
top-1                    90.00%   87.00%–93.00%      91.5%
top-5                    99.67%  98.00%–100.00%
ReaL top-1 (290 images)  95.00%   92.00%–97.00%
loss                     0.3100   0.2500–0.3700
calibration error        0.0210

v2-small (digits.safetensors): classes
Class    Label  Images  Top-1 %  Top-5 %
digit 0      0      30   100.00   100.00
digit 1      1      30    96.67   100.00

v2-small (digits.safetensors): most confused classes
Class   Predicted as  Images
9 nine  4 four             6

If the classes were in another order
Order                          Correct  Top-1 %
outputs in the devkit's order      240    80.00

Images that cannot be decoded, in no score
3/broken.png: cut off

Weights           digits.safetensors (safetensors, 1000 B): all
Tensor names      s2mlp; sha256 abababababababab…
Nearest built-in  v2-small
Data              digits.tar: a tar of class folders, 300 of 5,000 images (seed
                  0), 10 classes
Labels            from the folders; fingerprint cdcdcdcdcdcdcdcd…
Inputs            224x224, crop 0.9, bicubic, transform box
Run               cpu, fp32, batches of 32, 0 workers, 3 processes, shift slice
Time              600.0 ms: 512.0 images/s, data 200.0 ms, model 400.0 ms
Resumed           120 images are from earlier runs, not in this time

! the classes are numbered in another order
"""


RESULT = samples.validate().results[0]


def record(**fields):
    """The sample's record with other values in some fields of its result."""
    return changed(samples.validate(), results=(changed(RESULT, **fields),))


def full():
    """A record in which every part of the report has something to say."""
    real = RealScore(
        images=290, skipped=10, correct1=276, correct5=288, top1=0.95, top1_interval=(0.92, 0.97)
    )
    return record(
        model="v2-small", ckpt=changed(RESULT.ckpt, nearest="v2-small"),
        data=changed(RESULT.data, available=5000, limit=300, seed=0), processes=3,
        resumed_images=120, per_class=RESULT.per_class[:2],
        published=Published(paper="a paper", row="a row", top1=91.5), real=real,
        label_orders=(LabelOrder(order="outputs in the devkit's order", correct1=240, top1=0.8),),
        remarks=("the classes are numbered in another order",),
    )  # fmt: skip


def test_the_terminal_at_80_columns():
    assert shown(view(full()), 80) == EXPECTED


def test_a_loss_that_is_no_number_is_left_out():
    text = shown(view(record(loss=None, loss_interval=None)), 80)
    assert "loss" not in text
    assert "calibration error  0.0210" in text


def test_only_the_first_broken_images_are_shown():
    lines = shown(view(record(failures=RESULT.failures * 18)), 80).splitlines()
    assert "Images that cannot be decoded, in no score (first 5 of 18)" in lines
    assert lines.count("3/broken.png: cut off") == 5


def test_the_sheet_has_raw_values_in_one_row():
    table = sheet(full())
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert (row["correct1"], row["top1"], row["published_top1"]) == (270, 0.9, 91.5)
    assert (row["failures"], row["fingerprint"]) == (1, "cd" * 32)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('"per_class":[{"label":0,"name":"digit 0","images":30', "per_class.0.images"),
        ('"channels_last":false,"images":300', "images"),
        ('"label_name":"nine","predicted_name":"four","images":6', "confusions.0.images"),
    ],
)
def test_a_record_with_a_score_of_no_images_is_damaged(text, place, tmp_path):
    """No share can be taken of nothing, so that no renderer ever divides by zero."""
    whole = samples.validate().model_dump_json(by_alias=True)
    assert text in whole
    path = tmp_path / "record.json"
    path.write_text(whole.replace(text, text.rpartition(":")[0] + ":0"))
    with pytest.raises(RecordError, match=rf"results\.0\.{place}': .*greater than or equal to 1"):
        read_record(path)


@pytest.mark.parametrize(
    ("shift", "marked"),
    [
        ("inplace", "digits with the in-place shift, which is NOT a spatial shift: top-1 90.00%"),
        ("none", "digits with its shifts taken out: top-1 90.00% on 300 images"),
        ("slice", "digits: top-1 90.00% on 300 images (270 correct)"),
    ],
)
def test_a_score_of_another_function_is_marked_in_the_headline(shift, marked):
    assert shown(view(record(shift=shift)), 200).startswith(marked)


def test_whose_published_value_it_is_and_what_was_kept_is_shown():
    given = record(
        published=Published(model="v2-small", paper="a paper", row="a row", top1=80.7),
        predictions="p.csv",
        preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.25)),
    )
    text = shown(view(given), 80)
    assert "95 % interval  Published for v2-small\n" in text
    assert "\nPredictions   per image in p.csv\n" in text
    assert "transform box, mean 0.5," in text


def test_how_the_network_ran_is_told_as_far_as_it_applies():
    def words(**fields):
        return " ".join(shown(view(record(**fields)), 80).split())

    told = words(shift=None, compiled=True, channels_last=True, workers=1)
    assert ", 1 worker, 1 process, compiled, channels-last " in told
    assert "compilation included" in told
    assert "shift fused (functional form)" in words(shift="fused", form="functional")


def mistaken(thumbnail):
    mistake = Mistake(
        name="9/a.png", label=9, predicted=4, label_name="nine", predicted_name=None,
        confidence=0.9, thumbnail=thumbnail,
    )  # fmt: skip
    return record(mistakes=(mistake,))


def test_the_surest_mistakes_are_shown_with_what_was_kept_of_them():
    kept = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(kept, "JPEG")
    shown_by_name = {
        thumbnail: {picture.name: picture for picture in view(mistaken(thumbnail)).pictures()}
        for thumbnail in (None, base64.b64encode(kept.getvalue()).decode(), "no image")
    }
    without, whole, damaged = shown_by_name.values()
    assert "mistakes-digits" not in without
    assert whole["mistakes-digits"].drawing.svg().count("<image ") == 1
    assert "<image " not in damaged["mistakes-digits"].drawing.svg()
    assert "9 nine, taken for" in damaged["mistakes-digits"].drawing.svg()
    table = next(each for each in view(mistaken(None)).details() if "mistakes" in each.caption)
    assert table.rows == (("9/a.png", "9 nine", "4", 0.9),)


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("sample", None, "digits (sample)"),
        ("runs/digits.pth", None, "digits"),
        ("runs/best.pth", None, "digits (best.pth)"),
        ("digits.onnx", "exported", "digits (digits.onnx)"),
    ],
)
def test_two_checkpoints_of_one_model_are_told_apart(path, kind, name):
    source = kind and ModelSource(kind=kind, name="digits.onnx")
    given = record(ckpt=changed(RESULT.ckpt, path=path), source=source)
    assert view(given).answers[0].startswith(f"{name}: top-1 90.00%")
