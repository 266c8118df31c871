"""``show``, ``models`` and the options of ``convert``."""

import pytest
import torch
import yaml
from click.testing import CliRunner

from s2mlp_cli import sample
from s2mlp_cli.checkpoints.loading import load_checkpoint
from s2mlp_cli.cli import group
from s2mlp_cli.errors import S2MLPError
from s2mlp_cli.models import build_model
from s2mlp_cli.specs import load_spec
from tests.digits import save_zip
from tests.tiny import TINY


def run(*arguments):
    return CliRunner().invoke(
        group, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False
    )


def test_show_draws_where_each_split_moves_its_channels(tmp_path):
    shown = run("show", "v2-small").stdout
    assert shown.endswith(
        "# Where each split moves its channels, by one token (the border is repeated):\n"
        "#   split 0  │ ↓ │ ↑ │ → │ ← │ down, up, right, left: 1/4 of the channels each\n"
        "#   split 1  │ → │ ← │ ↓ │ ↑ │ right, left, down, up: 1/4 of the channels each\n"
        "#   split 2  │ · │ not shifted\n"
    )
    (tmp_path / "mine.yaml").write_text(shown, encoding="utf-8")
    assert load_spec(tmp_path / "mine.yaml") == load_spec("v2-small")
    diagonal = run("show", "v1-wide", "--set", "mixer.splits=[[up-left, down-right], ]").stdout
    assert "│ ↖ │ ↘ │ up-left, down-right: 1/2 of the channels each" in diagonal
    assert "#" not in run("show", "gfnet-s").stdout


@pytest.mark.parametrize("words", [("--ckpt",), ("--model",), ()])
def test_show_prints_the_spec_of_a_checkpoint(words):
    shown = yaml.safe_load(run("show", *words, sample.CHECKPOINT).stdout)
    assert shown == load_checkpoint(sample.CHECKPOINT).spec.model_dump(mode="json")


def test_a_spec_read_off_tensors_is_called_like_its_file_and_says_what_it_assumes(tmp_path):
    state = build_model(TINY).state_dict()
    save_zip({"a": state, "b": state}, tmp_path / "best.pth")
    with pytest.raises(S2MLPError, match="choose one, such as --weights a"):
        run("show", tmp_path / "best.pth")
    done = run("show", tmp_path / "best.pth", "--weights", "b", "--input-size", "24")
    assert yaml.safe_load(done.stdout)["name"] == "best"
    assert yaml.safe_load(done.stdout)["input_size"] == [24, 24]
    assert "tensors do not contain the order of the directions" in done.stderr


def test_what_has_no_spec_is_not_shown(tmp_path):
    (tmp_path / "net.py").write_text("import torch\nNet = torch.nn.Identity\n")
    with pytest.raises(S2MLPError, match="net.py:Net has no spec; `s2mlp count .*net.py:Net`"):
        run("show", f"{tmp_path}/net.py:Net")
    done = CliRunner().invoke(group, ["show", "v2-small", "--model", "v1-wide"])
    assert "v2-small and --model v1-wide both name the model; give one" in done.stderr


def test_models_says_that_nothing_matches():
    assert "v2-small" in run("models", "v2").stdout
    with pytest.raises(S2MLPError, match="no built-in spec has 'zzz' in its name; `s2mlp models`"):
        run("models", "zzz")


def test_convert_takes_the_weights_that_are_chosen(tmp_path):
    state = build_model(TINY).state_dict()
    other = {name: tensor + 1 for name, tensor in state.items()}
    save_zip({"generator": state, "critic": other}, tmp_path / "x.pth")
    output = tmp_path / "ours.safetensors"
    done = run("convert", "--ckpt", tmp_path / "x.pth", "--weights", "critic", "-o", output)
    assert f"{len(state)} tensors with s2mlp names; logits differ by at most 0" in done.stdout
    written = load_checkpoint(output)
    assert all(torch.equal(written.state[name], tensor) for name, tensor in other.items())
    assert written.spec.name == "x"
