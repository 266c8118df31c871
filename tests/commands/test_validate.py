"""``s2mlp validate`` as a user runs it."""

import base64
import io
import json
import os
import re
import socket
import subprocess
import sys

import click
import pytest
import timm
import torch
from click.testing import CliRunner
from PIL import Image

from s2mlp_cli.cli import group
from s2mlp_cli.errors import DataError, ProgressError, SpecError, UnavailableError, WriteError
from s2mlp_cli.measure.validating.result import make_result
from s2mlp_cli.models import build_model
from s2mlp_cli.preprocessing import IMAGENET_MEAN
from s2mlp_cli.records.predictions import load_predictions
from s2mlp_cli.records.validate import ValidateRecord
from s2mlp_cli.specs import load_spec
from tests.command_line import s2mlp
from tests.digits import (
    SYNSETS,
    class_folders,
    fill,
    flat,
    save_zip,
    tar_of,
    write_csv,
    write_devkit,
)

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3",
            "--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")  # fmt: skip
SIZE = ("--input-size", "16", "--crop-pct", "1.0", "--device", "cpu", "--workers", "0")


def program(*arguments):
    return [sys.executable, "-m", "s2mlp_cli", "validate", *map(str, arguments)]


def three_processes(*arguments):
    command = [*TORCHRUN, *program(*arguments)[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=200, env=environment
    )


def invoked(*arguments, **how):
    given = ["validate", *map(str, arguments)]
    return CliRunner().invoke(group, given, standalone_mode=False, **how)


def in_process(*arguments):
    """Run the command in this process; errors come through."""
    outcome = invoked(*arguments, "--format", "json", catch_exceptions=False)
    return ValidateRecord.model_validate_json(outcome.stdout).results[0]


@pytest.fixture(scope="module")
def ckpt(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("ckpt") / "digits.pth"
    save_zip({"state_dict": digits.model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def folders(digits, tmp_path_factory):
    return class_folders(digits, tmp_path_factory.mktemp("folders"))[0]


@pytest.fixture(scope="module")
def given(ckpt, folders):
    """What most runs are given: the checkpoint, its images and their size."""
    return ("--ckpt", ckpt, "--data", folders, *SIZE)


def test_the_sample_needs_nothing_but_the_package(tmp_path):
    done = s2mlp("validate", "--ckpt", "sample", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("digits (sample): top-1 98.33% on 300 images (295 correct)\n")
    assert "sample: a tar of images, 300 images, 10 classes" in done.stdout


def test_the_model_is_read_off_the_checkpoint_and_data_comes_from_a_variable(
    ckpt, folders, digits, monkeypatch
):
    monkeypatch.setenv("S2MLP_DATA", str(folders))
    result = in_process("--ckpt", ckpt, *SIZE)
    assert (result.correct1, result.correct5) == (digits.correct1, digits.correct5)
    assert result.ckpt.taken == "'state_dict'"
    assert result.data.form == "class folders"


def test_three_processes_count_fifty_images_as_one_does(given, tmp_path):
    arguments = (*given, "--limit", "50", "--batch-size", "4")
    one = in_process(*arguments)
    done = three_processes(
        *arguments, "--output", tmp_path / "r.json", "--predictions", tmp_path / "p.csv"
    )
    assert done.returncode == 0, done.stderr
    three = ValidateRecord.model_validate_json((tmp_path / "r.json").read_text()).results[0]
    assert three.processes == 3
    names = ("images", "correct1", "correct5", "loss", "ece", "calibration", "confusions")
    assert [getattr(three, n) for n in names] == [getattr(one, n) for n in names]
    assert three.data.fingerprint == one.data.fingerprint
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 51


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--labels", "/no/such"), "there is no label file /no/such; check the path given with"),
        (("--shift", "triton"), "the shift 'triton' cannot run on cpu: "),
    ],
)
def test_processes_that_fail_alike_say_it_once(given, options, sentence):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
    started = [
        subprocess.Popen(
            program(*given, *options), stderr=subprocess.PIPE, text=True,
            env={**os.environ, **world, "MASTER_PORT": str(port), "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    said = "".join(process.communicate(timeout=200)[1] for process in started)
    assert [process.returncode for process in started] == [1, 1]
    assert said.count(f"error: {sentence}") == 1


def test_progress_of_another_run_is_refused(given, tmp_path):
    arguments = (*given, "--resume", tmp_path / "progress")
    in_process(*arguments)
    with pytest.raises(ProgressError, match="its batch size is 64, this run's is 7; use the same"):
        in_process(*arguments, "--batch-size", "7")
    with pytest.raises(
        ProgressError, match="its preprocessing's crop_pct is 1.0, this run's is 0.5"
    ):
        in_process(*("0.5" if word == "1.0" else word for word in arguments))
    with pytest.raises(ProgressError, match=r"choice of images is \w{16}, this run's is \w{16}; "):
        in_process(*arguments, "--limit", "50")


def test_without_data_a_sentence_says_how_to_give_it(ckpt):
    with pytest.raises(DataError, match="give ImageNet val with --data PATH or S2MLP_DATA=PATH"):
        in_process("--ckpt", ckpt)


def test_labels_are_read_for_the_images_of_the_sample_too():
    with pytest.raises(DataError, match="there is no label file /no/such"):
        in_process("--ckpt", "sample", "--labels", "/no/such")


def test_a_broken_image_is_counted_and_named_but_strict_fails(ckpt, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the progress of a run that fails is kept
    folder = flat(digits, tmp_path)
    write_csv(digits, tmp_path / "labels.csv")
    broken = folder / digits.names[3]
    broken.write_bytes(digits.files[3][:60])
    arguments = ("--ckpt", ckpt, "--data", folder, *SIZE)
    result = in_process(*arguments)
    assert (result.images, [failure.name for failure in result.failures]) == (99, [broken.name])
    with pytest.raises(DataError, match=f"the image {broken.name} cannot be decoded .*--strict"):
        in_process(*arguments, "--strict")


def test_more_than_one_percent_broken_fails_after_the_record_was_saved(ckpt, digits, tmp_path):
    folder = flat(digits, tmp_path)
    write_csv(digits, tmp_path / "labels.csv")
    for name in digits.names[:2]:
        (folder / name).write_bytes(b"no image")
    with pytest.raises(DataError, match="2 of 100 images cannot be decoded, .*: no image of a "):
        in_process("--ckpt", ckpt, "--data", folder, *SIZE, "-o", tmp_path / "record.json")
    saved = ValidateRecord.model_validate_json((tmp_path / "record.json").read_text()).results[0]
    assert saved.images == 98


def test_a_part_of_the_set_is_spread_over_the_classes(given):
    result = in_process(*given, "--limit", "20", "--seed", "3", "--per-class")
    assert [row.images for row in result.per_class] == [2] * 10
    assert [row.name for row in result.per_class] == list(SYNSETS)
    assert (result.data.limit, result.data.seed) == (20, 3)


def test_the_surest_mistakes_are_kept_with_thumbnails_if_asked_for(tmp_path):
    """The in-place shift makes many mistakes; a record keeps the twelve surest."""
    given = ("--ckpt", "sample", "--workers", "0", "--shift", "inplace", "--device", "cpu")
    result = in_process(*given, "--keep-mistakes", "--predictions", tmp_path / "p.csv")
    wrong = [row for row in load_predictions(tmp_path / "p.csv") if not row.correct1]
    wrong.sort(key=lambda row: -row.confidence)
    assert len(wrong) > 12
    expected = [(row.name, row.label, row.top1) for row in wrong[:12]]
    assert [(each.name, each.label, each.predicted) for each in result.mistakes] == expected
    for mistake in result.mistakes:
        with Image.open(io.BytesIO(base64.b64decode(mistake.thumbnail or ""))) as image:
            assert image.format == "JPEG"
            assert max(image.size) <= 96
    without = in_process(*given)
    assert [each.thumbnail for each in without.mistakes] == [None] * 12


def test_the_wrong_shift_runs_on_a_cpu_and_is_marked(given, digits):
    wrong = in_process(*given, "--shift", "inplace")
    assert wrong.correct1 < digits.correct1
    assert any("NOT a spatial shift" in remark for remark in wrong.remarks)


def test_a_part_of_imagenets_classes_is_placed_among_all_1000(tmp_path):
    save_zip(timm.create_model("test_vit").state_dict(), tmp_path / "timm.pth")
    for synset in ("n01440764", "n01443537", "n15075141"):
        fill(tmp_path, f"val/{synset}/x.png")
    result = in_process(
        "--ckpt", tmp_path / "timm.pth", "--model", "timm:test_vit", "--data", tmp_path / "val",
        "--workers", "0", "--device", "cpu", "--predictions", tmp_path / "p.csv",
    )  # fmt: skip
    assert [row.label for row in load_predictions(tmp_path / "p.csv")] == [0, 1, 999]
    assert "the data covers 3 of the classifier's 1000 classes" in result.remarks


def test_mean_and_std_go_before_what_timm_says_of_its_model(given):
    result = in_process(*given, "--mean", "0.5,0.5,0.5", "--std", "0.5, 0.5,0.25")
    assert result.preprocessing.mean == (0.5, 0.5, 0.5)
    assert result.preprocessing.std == (0.5, 0.5, 0.25)
    unchanged = in_process(*given)
    assert result.loss != unchanged.loss
    assert unchanged.preprocessing.mean == IMAGENET_MEAN


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--mean", "0.5", "'0.5' is not three numbers; use 0.485,0.456,0.406"),
        ("--mean", "123.7,116.3,103.5", "is not within 0 to 1; divide pixel values by 255"),
        ("--mean", "nan,0,0", "is not within 0 to 1"),
        ("--std", "0.2,0,0.2", "'0.2,0,0.2' contains 0, and pixels are divided by it"),
        ("--crop-pct", "nan", "'nan' is not a finite number"),
        ("--seed", "-1", "-1 is not in the range 0<=x<=4294967295"),
        ("--predictions", "p.txt", "'p.txt' should end with .csv, .parquet"),
        ("--predictions", "no/p.csv", "there is no folder 'no' to write to"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_usage_error(option, value, message):
    with pytest.raises(click.BadParameter, match=re.escape(message)):
        in_process("--ckpt", "sample", option, value)


def test_the_record_names_the_file_of_predictions(given, tmp_path):
    kept = in_process(*given, "--predictions", tmp_path / "p.csv")
    assert kept.predictions == str(tmp_path / "p.csv")
    assert in_process(*given).predictions is None


def test_what_cannot_be_saved_is_printed_all_the_same(given, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for option in ("-o", "--predictions", "--resume"):
        target = tmp_path / ("r.json" if option == "-o" else "p.csv")
        outcome = invoked(*given, option, target)
        assert isinstance(outcome.exception, WriteError)
        assert "No space left on device" in str(outcome.exception)
        assert "top-1 9" in outcome.stdout.splitlines()[0]
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_during_the_run_costs_the_progress_only(given, tmp_path, monkeypatch):
    """The first save works and every later one fails; then all work again."""
    saves = []

    def full(_):
        saves.append("")
        if len(saves) > 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("s2mlp_cli.measure.validating.table._SAVING_FRACTION", 1e9)
    arguments = (*given, "--batch-size", "10", "--resume", tmp_path / "progress")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = invoked(*arguments)
    assert len(saves) == 11
    assert isinstance(outcome.exception, WriteError)
    assert "top-1 9" in outcome.stdout.splitlines()[0]
    assert outcome.stderr.count("progress is not saved: cannot write") == 1
    resumed = in_process(*arguments)
    assert (resumed.resumed_images, resumed.images) == (10, 100)


@pytest.fixture
def interrupted(monkeypatch, tmp_path):
    """Ctrl-C after the last image, in a folder of its own."""

    def make_result(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("s2mlp_cli.measure.validating.validate.make_result", make_result)


def test_an_interrupted_run_that_cannot_be_kept_says_both(given, interrupted, tmp_path):
    (tmp_path / "s2mlp-validate.partial").mkdir()  # what is there cannot be replaced
    outcome = invoked(*given)
    assert isinstance(outcome.exception, click.Abort)
    assert "progress is not saved: cannot write s2mlp-validate.partial" in outcome.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--predictions", "p.csv", "-o", "p.csv"),
        ("--resume", "p.csv", "--predictions", "./p.csv"),
        ("--labels", "p.csv", "--predictions", "p.csv"),
        ("--ckpt", "p.csv", "-o", "link.csv"),
    ],
)
def test_no_file_is_written_twice_or_over_one_that_is_read(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.csv").symlink_to("p.csv")
    ckpt = () if "--ckpt" in options else ("--ckpt", "sample")
    with pytest.raises(click.UsageError, match=r"--\w+ and --\w+ name the same file, (link|p).csv"):
        in_process(*ckpt, *options)


def test_ctrl_c_after_the_last_image_keeps_them_all(given, interrupted, monkeypatch):
    with pytest.raises(click.Abort):
        in_process(*given)
    monkeypatch.setattr("s2mlp_cli.measure.validating.validate.make_result", make_result)
    assert in_process(*given, "--resume", "s2mlp-validate.partial").resumed_images == 100


def test_the_devkits_order_is_tried_where_labels_are_its_numbers(ckpt, digits, tmp_path):
    folder = flat(digits, tmp_path)
    rows = zip(digits.names, digits.classes, strict=True)
    (tmp_path / "mine.csv").write_text("".join(f"{name},{9 - c}\n" for name, c in rows))
    arguments = ("--ckpt", ckpt, "--data", folder, "--labels", tmp_path / "mine.csv", *SIZE)
    untold = in_process(*arguments)
    assert any("was not tried, because there is no devkit" in remark for remark in untold.remarks)
    write_devkit(digits, tmp_path / "ILSVRC2012_devkit_t12.tar.gz")
    told = in_process(*arguments)
    best = max(told.label_orders, key=lambda order: order.correct1)
    assert best.order.endswith("in the devkit's numbers")  # backwards is its own inverse
    assert best.correct1 == digits.correct1
    assert any(f"but {best.top1:.2%} with {best.order}" in remark for remark in told.remarks)


def test_what_was_left_out_of_the_data_is_remarked(ckpt, digits, tmp_path):
    root, _ = class_folders(digits, tmp_path)
    (root / "val" / "logo.png").write_bytes(digits.files[0])
    result = in_process("--ckpt", ckpt, "--data", root, *SIZE)
    assert result.images == 100
    note = "not read: 1 image beside the class folders; the first is val/logo.png"
    assert note in result.remarks


def test_real_labels_are_scored_in_the_same_pass(given, digits, tmp_path):
    """Every third image has none; of the others every second has what the model says."""
    said = digits.logits.argmax(1).tolist()
    rows = [[] if i % 3 == 0 else [(top + i % 2) % 10] for i, top in enumerate(said)]
    (tmp_path / "real.json").write_text(json.dumps(rows))
    result = in_process(*given, "--real-labels", tmp_path / "real.json")
    assert result.correct1 == digits.correct1
    assert result.real is not None
    assert (result.real.images, result.real.skipped) == (66, 34)
    assert result.real.correct1 == sum(i % 2 == 0 for i in range(100) if i % 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name a checkpoint: --ckpt FILE, or --ckpt sample to try it"),
        (("--pretrained",), "--pretrained replaces --ckpt, and needs --model"),
        (
            ("--pretrained", "--model", "mixer-b16", "--ckpt", "x"),
            "--pretrained replaces --ckpt, and needs --model",
        ),
    ],
)
def test_options_that_do_not_go_together(arguments, sentence):
    with pytest.raises(click.UsageError) as caught:
        in_process(*arguments)
    assert caught.value.message == sentence


def test_a_shift_that_cannot_run_here_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UnavailableError, match="the shift 'triton' cannot run on cpu: Triton"):
        in_process("--ckpt", "sample", "--shift", "triton", "--device", "cpu")


def test_a_device_that_computes_nothing_is_refused(given):
    with pytest.raises(UnavailableError, match="no device 'meta' here; use --device cpu"):
        in_process(*given[:4], "--device", "meta")


def test_labels_for_another_number_of_classes_are_refused(ckpt, digits, tmp_path):
    members = {f"{digit}/x.png": digits.files[0] for digit in range(11)}
    with pytest.raises(DataError, match="the data has 11 classes .* classifier has 10 outputs"):
        in_process("--ckpt", ckpt, "--data", tar_of(tmp_path / "x.tar", members), *SIZE)


def test_a_diverged_checkpoint_is_reported_before_the_run(digits, folders, tmp_path):
    state = dict(digits.model.state_dict())
    state["head.bias"] = torch.full((10,), torch.nan)
    save_zip(state, tmp_path / "nan.pth")
    done = s2mlp("validate", "--ckpt", tmp_path / "nan.pth", "--data", folders)
    assert done.returncode == 1
    assert "has NaN or infinite weights in head.bias, so its training diverged" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "reason"),
    [("vip-small", "map of 32x32 tokens"), ("timm:mixer_s32_224", "joins the tokens")],
)
def test_a_size_that_the_model_cannot_take_is_refused_with_the_reason(
    folders, tmp_path, model, reason
):
    layers = ("stages.0.depth=1", "stages.1.depth=1") if model == "vip-small" else ()
    weights = build_model(load_spec(model, layers))
    save_zip({"state_dict": weights.state_dict()}, tmp_path / "weights.pth")
    overrides = [word for layer in layers for word in ("--set", layer)]
    given = ("--ckpt", tmp_path / "weights.pth", "--model", model, *overrides, "--data", folders)
    with pytest.raises(SpecError, match=reason):
        in_process(*given, "--input-size", "64")
