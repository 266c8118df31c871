import hashlib
import json

import click
from click.testing import CliRunner

from s2mlp_cli import sample, specs
from s2mlp_cli.commands import count as module
from s2mlp_cli.errors import SpecError
from s2mlp_cli.measure.counting import running
from s2mlp_cli.specs import loading

SIZES = ("--input-size", "112", "--input-size", "224")


def run(*arguments):
    return CliRunner().invoke(module.command, arguments, standalone_mode=False)


def test_several_models_at_several_sizes():
    done = run("--model", "vip-small-16", "--model", "gfnet-s", *SIZES, "--format", "json")
    record = json.loads(done.stdout)
    counted = [(result["model"], result["input_size"][0]) for result in record["results"]]
    assert counted == [("vip-small-16", 224), ("gfnet-s", 112), ("gfnet-s", 224)]
    assert [refusal["input_size"] for refusal in record["refused"]] == [[112, 112]]
    at_own_size = record["results"][2]
    assert [figure["printed"] for figure in at_own_size["published"]] == ["25M", "4.5B"]
    assert record["results"][1]["published"] == []


def test_a_refused_size_alone_is_an_error():
    done = run("--model", "vip-small-16", "--input-size", "112")
    assert isinstance(done.exception, SpecError)
    assert "are for a map of 14x14 tokens" in str(done.exception)


def test_a_refused_size_does_not_keep_the_others_from_being_counted():
    sizes = [word for size in ("112", "224", "384") for word in ("--input-size", size)]
    done = run("--model", "v2-small", *sizes)
    assert done.exception is None
    assert done.return_value is None  # exit code 0: what was asked is answered
    text = " ".join(done.stdout.split())
    assert text.startswith(
        "1 model at 2 sizes, from 1.727 G MACs (112x112) to 6.902 G (224x224); 1 unsupported "
    )
    assert "v2-small, 384x384: supports multiples of 14, such as 378x378" in text


def test_nothing_counted_is_an_error_that_names_model_and_size():
    done = run("--model", "v2-small", "--input-size", "384")
    assert str(done.exception) == (
        "v2-small at 384x384: input_size: found 384x384, which the patches of stage 0 do not "
        "divide; allowed: multiples of 14, such as 378x378"
    )


def test_timm_by_name():
    done = run("--model", "timm:resnet10t", "--format", "json")
    (result,) = json.loads(done.stdout)["results"]
    assert (result["family"], result["model"]) == ("timm", "timm:resnet10t")
    assert result["uncounted"] == []


def counted(*arguments):
    done = run(*arguments, "--format", "json")
    assert done.exception is None, done.exception
    return [result["model"] for result in json.loads(done.stdout)["results"]]


def test_models_are_named_with_and_without_the_option():
    assert counted("v1-wide", "v1-deep") == ["v1-wide", "v1-deep"]
    assert counted("v1-wide", "--model", "v1-deep") == ["v1-wide", "v1-deep"]


def test_a_checkpoint_is_counted_by_its_file():
    path = str(sample.CHECKPOINT)
    assert counted("--ckpt", path) == counted("--model", path) == ["digits.safetensors"]
    assert counted("v1-wide", "--ckpt", path) == ["v1-wide", "digits.safetensors"]


def test_a_model_beside_a_checkpoint_is_its_architecture():
    done = run("--model", "v2-small", "--ckpt", str(sample.CHECKPOINT))
    assert "does not fit v2-small" in str(done.exception)
    done = run("--model", "v2-small", "--model", "v1-wide", "--ckpt", str(sample.CHECKPOINT))
    assert isinstance(done.exception, click.UsageError)


def test_a_model_of_a_python_file_has_arguments_size_and_channels(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def build(width=4, bias=True):\n"
        "    return nn.Sequential(nn.Conv2d(1, width, 3, bias=bias), nn.Flatten())\n"
    )
    options = ("--set", "width=8", "--set", "bias=false", "--in-channels", "1")
    done = run(f"{file}:build", *options, "--input-size", "5x4", "--format", "json")
    (result,) = json.loads(done.stdout)["results"]
    assert (result["params"], result["macs_matmul"]) == (8 * 9, 8 * 9 * 3 * 2)
    assert result["source"]["arguments"] == {"width": 8, "bias": False}
    assert result["source"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert result["crosscheck"]["closed_form"] is None


def test_counters_that_disagree_are_an_error_after_the_record(monkeypatch):
    monkeypatch.setattr(running, "flop_counter_macs", lambda model, images: 5)
    done = run("v1-wide", "--format", "json")
    assert json.loads(done.stdout)["results"][0]["crosscheck"]["flop_counter"] == 5
    assert str(done.exception).startswith("the counters disagree on v1-wide; do not trust these")


def test_a_spec_is_read_and_checked_once(monkeypatch):
    read, checked = [], []
    read_document, check_sizes = loading.read_document, specs.model.check_sizes

    def reading(path, *rest, **named):
        read.append(path.stem)
        return read_document(path, *rest, **named)

    def checking(size, stages):
        checked.append(size)
        check_sizes(size, stages)

    monkeypatch.setattr(loading, "read_document", reading)
    monkeypatch.setattr(specs.model, "check_sizes", checking)
    loading.built_in.cache_clear()
    assert counted("v2-medium", "--input-size", "224") == ["v2-medium"]
    assert (read, len(checked)) == (["v2-medium", "v2-small"], 1)


def test_a_size_beyond_all_images_says_so():
    done = run("v2-small", "--input-size", "100000")
    assert "'100000' is too large; a side has at most 16384 pixels" in str(done.exception)


def test_nothing_but_the_result_is_printed_where_no_terminal_waits(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("v1-wide").stderr == ""
