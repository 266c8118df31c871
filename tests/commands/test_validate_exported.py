"""Exported files and Python code are validated as checkpoints are."""

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from s2mlp_cli import sample
from s2mlp_cli.commands.profile import command as profile
from s2mlp_cli.commands.show import command as show
from s2mlp_cli.compare.comparison import compare_records
from s2mlp_cli.errors import CheckpointError, ExportError, ProgressError, UnavailableError
from s2mlp_cli.measure.exporting import export
from s2mlp_cli.measure.source import open_model
from s2mlp_cli.records.predictions import load_predictions
from s2mlp_cli.records.reading import read_record
from s2mlp_cli.runtimes.export import export_onnx
from s2mlp_cli.runtimes.precision import to_int8
from tests.commands.test_validate import in_process

RUN = ("--data", sample.IMAGES, "--workers", "0")
MEAN_STD = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")


class Foreign(nn.Module):
    """The sample's model, with the mean taken off as somebody else would: inside."""

    def __init__(self):
        super().__init__()
        self.inner = open_model(None, sample.CHECKPOINT).build("slice")

    def forward(self, images):
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return self.inner((images - mean.view(3, 1, 1)) / std.view(3, 1, 1))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The sample's model: ONNX in float32 and int8, .pt2, and ONNX by others in batches of 16."""
    folder = tmp_path_factory.mktemp("exported")
    model = open_model(None, sample.CHECKPOINT)
    for name in ("digits.onnx", "digits.pt2"):
        export(model, folder / name)
    to_int8(folder / "digits.onnx", folder / "int8.onnx", None)
    export_onnx(Foreign().eval(), (3, 16, 16), folder / "foreign.onnx", batch_size=16)
    return folder


@pytest.mark.parametrize("name", ["digits.onnx", "digits.pt2"])
def test_every_image_is_scored_as_by_the_checkpoint(exported, tmp_path, name):
    files = tmp_path / "a.csv", tmp_path / "b.csv"
    ours = in_process("--ckpt", "sample", "--workers", "0", "--predictions", files[0])
    result = in_process("--ckpt", exported / name, *RUN, "--predictions", files[1])
    assert (result.correct1, result.correct5) == (ours.correct1, ours.correct5)
    assert result.preprocessing == ours.preprocessing  # from the file's metadata
    assert result.spec == ours.spec
    assert result.batch_size == 64
    assert result.runtime == ("torch" if name == "digits.pt2" else "onnxruntime")
    assert (result.dtype, result.shift, result.source.kind) == ("fp32", None, "exported")
    assert not any("assumed" in remark for remark in result.remarks)
    losses = [[row.loss for row in load_predictions(file)] for file in files]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


def test_show_of_an_exported_file_points_to_what_it_was_made_from(exported):
    done = CliRunner().invoke(show, [str(exported / "digits.onnx")])
    assert "digits.onnx has no spec; show what it was exported from" in str(done.exception)


def test_in_int8_an_image_depends_on_its_batch_and_on_nothing_else(exported, tmp_path):
    """Workers and interruptions change no value; another batch size does, and is named."""
    given = ("--ckpt", exported / "int8.onnx", "--data", sample.IMAGES, "--batch-size")
    runs = {
        "whole": (*given, "16", "--workers", "0"),
        "workers": (*given, "16", "--workers", "2"),
        "other": (*given, "1", "--workers", "0"),
    }
    rows = {}
    for name, arguments in runs.items():
        files = tmp_path / f"{name}.csv", tmp_path / f"{name}.json"
        in_process(*arguments, "--predictions", files[0], "-o", files[1])
        rows[name] = load_predictions(files[0])
    assert rows["whole"] == rows["workers"]
    assert rows["whole"] != rows["other"]
    assert read_record(tmp_path / "whole.json").results[0].dtype == "int8"
    paths = [tmp_path / "whole.json", tmp_path / "other.json"]
    found = compare_records(paths, list(map(read_record, paths)), None)
    assert "the validations differ in: batch size 16 and 1" in found.remarks

    resume = ("--resume", tmp_path / "progress")
    in_process(*runs["whole"], *resume)
    with np.load(tmp_path / "progress") as saved:  # as if it had ended within the 8th batch
        columns = dict(saved)
    columns["state"][120:] = 0
    np.savez(tmp_path / "again.npz", **columns)
    (tmp_path / "again.npz").rename(tmp_path / "progress")
    result = in_process(*runs["whole"], *resume, "--predictions", tmp_path / "resumed.csv")
    assert result.resumed_images == 120
    assert load_predictions(tmp_path / "resumed.csv") == rows["whole"]
    with pytest.raises(ProgressError, match="its batch size is 16, this run's is 1"):
        in_process(*runs["other"], *resume)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--shift", "roll"), "runs as it is; leave out --shift"),
        (("--dtype", "bf16"), "runs as it is; leave out --dtype"),
        (("--compile", "--channels-last"), "leave out --compile, --channels-last"),
        (("--input-size", "32"), "takes images of 16x16 only; leave out --input-size"),
    ],
)
def test_what_an_exported_file_decides_itself_is_not_chosen(exported, option, sentence):
    with pytest.raises((UnavailableError, ExportError), match=sentence):
        in_process("--ckpt", exported / "digits.onnx", *RUN, *option)


@pytest.mark.parametrize("option", [("--ema",), ("--model", "v2-small"), ("--model", "net.py:build"),
                                    ("--weights", "x"), ("--set", "classes=2")])  # fmt: skip
def test_an_exported_file_brings_its_model_and_weights(exported, option):
    with pytest.raises(ExportError, match="leave out --model, --set, --in-channels, --ema"):
        in_process("--ckpt", exported / "digits.onnx", *RUN, *option)


def test_a_fixed_batch_is_kept(exported):
    with pytest.raises(UnavailableError, match="takes batches of 16 only; use --batch-size 16"):
        in_process("--ckpt", exported / "foreign.onnx", *RUN, "--batch-size", "8")


def test_a_foreign_classifier_is_prepared_as_the_options_say(exported):
    """300 images are no whole number of its batches of 16: the last one is filled up."""
    own = ("--ckpt", exported / "foreign.onnx", *RUN)
    inputs = ("--mean", "0,0,0", "--std", "1,1,1", "--crop-pct", "1.0")
    result = in_process(*own, *inputs)
    assert (result.model, result.images, result.batch_size) == ("foreign.onnx", 300, 16)
    assert result.correct1 == in_process("--ckpt", "sample", "--workers", "0").correct1
    assert result.spec == {"classes": 10}
    assert not any("assumed" in remark for remark in result.remarks)
    assumed = in_process(*own)
    assert any("the file does not say how images are prepared: 16x16" in remark
               for remark in assumed.remarks)  # fmt: skip


@pytest.mark.parametrize("name", ["open.onnx", "open.pt2"])
def test_a_file_of_any_size_asks_for_one(tmp_path, name):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 10)

        def forward(self, images):
            return self.head(images.mean((2, 3)))

    height, width = (torch.export.Dim(each, min=2, max=999) for each in ("height", "width"))
    program = torch.export.export(
        Pooled().eval(),
        (torch.zeros(2, 3, 16, 20),),
        dynamic_shapes=({0: torch.export.Dim("n"), 2: height, 3: width},),
    )
    if name.endswith("pt2"):
        torch.export.save(program, tmp_path / name)
    else:
        torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / name)
    with pytest.raises(ExportError, match="images of several sizes; choose one with --input-size"):
        in_process("--ckpt", tmp_path / name, *RUN)
    result = in_process("--ckpt", tmp_path / name, *RUN, "--input-size", "24")
    assert result.preprocessing.input_size == (24, 24)
    with pytest.raises(ExportError, match="choose one with --input-size"):
        CliRunner().invoke(
            profile, ["--ckpt", str(tmp_path / name)], catch_exceptions=False, standalone_mode=False
        )


def test_files_that_are_no_classifiers_of_rgb_images(exported, tmp_path):
    grey = tmp_path / "grey.onnx"
    export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(256, 10)).eval(), (1, 16, 16), grey)
    (tmp_path / "cut.onnx").write_bytes((exported / "digits.onnx").read_bytes()[:90_000])
    for path, error, sentence in (
        (grey, CheckpointError, "takes 1 channels; a classifier of RGB images takes B,3,H,W"),
        (tmp_path / "cut.onnx", ExportError, "is not a whole .onnx file"),
        (tmp_path / "no.onnx", ExportError, "there is no file"),
    ):
        with pytest.raises(error, match=sentence):
            in_process("--ckpt", path, *RUN)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("s2mlp.spec", "the spec in its metadata is not valid; export it again"),
        (
            "s2mlp.preprocessing",
            "s2mlp.preprocessing in its metadata is not valid; export it again",
        ),
    ],
)
def test_metadata_that_is_damaged_is_named_with_its_file(exported, tmp_path, key, sentence):
    model = onnx.load(exported / "digits.onnx")
    next(each for each in model.metadata_props if each.key == key).value = "{"
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(ExportError, match=f"bad.onnx: {sentence}"):
        in_process("--ckpt", tmp_path / "bad.onnx", *RUN)


NET = """
from torch import nn

def build(classes=10):
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 16, classes))

def features():
    return nn.Conv2d(3, 4, 1)
"""


def test_python_code_with_its_weights(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    name = f"{tmp_path / 'net.py'}:build"
    torch.save(open_model(name).build().state_dict(), tmp_path / "net.pth")
    given = ("--model", name, "--ckpt", tmp_path / "net.pth", *RUN, "--input-size", "16")
    result = in_process(*given, "--resume", tmp_path / "progress")
    assert (result.model, result.images, result.spec) == ("net.py:build", 300, {"classes": 10})
    assert result.source.sha256 is not None
    assert result.source.weights_sha256 == result.ckpt.sha256
    assert result.preprocessing.input_size == (16, 16)
    assert any("Python code does not say how images are prepared" in each
               for each in result.remarks)  # fmt: skip
    (tmp_path / "net.py").write_text(NET + "# changed\n")
    with pytest.raises(ProgressError, match="its code is"):
        in_process(*given, "--resume", tmp_path / "progress")
    with pytest.raises(UnavailableError, match="the code of net.py:build chooses its own shift"):
        in_process(*given, "--shift", "roll")
    torch.save(nn.Conv2d(3, 4, 1).state_dict(), tmp_path / "features.pth")
    with pytest.raises(CheckpointError, match="does not return logits"):
        in_process("--model", f"{tmp_path / 'net.py'}:features", "--ckpt",
                   tmp_path / "features.pth", *RUN)  # fmt: skip


def test_a_model_without_weights_is_not_validated():
    with pytest.raises(CheckpointError, match="v2-small has random weights; give a checkpoint"):
        in_process("--model", "v2-small", *RUN)


def test_a_file_of_weights_may_be_given_as_the_model():
    assert in_process("--model", sample.CHECKPOINT, *RUN).correct1 == 295
