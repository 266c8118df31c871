"""`s2mlp trace` on a trace that `s2mlp profile --trace` made."""

import json
import subprocess

import pytest
from click.testing import CliRunner

from s2mlp_cli.commands.trace import NEEDS_NETWORK, command
from s2mlp_cli.measure.tracing.writing import trace_case
from s2mlp_cli.specs import load_spec
from tests.tiny import case as make_case

OVERRIDES = ("input_size=28", "stages.0.depth=1", "stages.1.depth=1", "stages.1.dim=32",
             "stages.0.dim=16", "stages.0.patch=7", "stages.1.patch=2")  # fmt: skip


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    case = make_case(load_spec("v2-small", OVERRIDES))
    trace_case(case, "conv", folder / "run")
    return folder


def invoke(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


def test_the_terminal_shows_every_view(traces):
    done = invoke(traces)
    assert done.exit_code == 0
    assert done.stdout.startswith("conv (v2-small[input_size=28, stages.0.depth=1")
    for view in ("Scopes", "Operators, by own time", "Modules", "Memory, by allocated bytes"):
        assert view in done.stdout
    assert "stages.*.blocks.*.mixer.shift" in done.stdout
    assert done.stderr == ""


def test_json_holds_all_rows(traces):
    record = json.loads(invoke(traces, "--format", "json").stdout)
    assert record["schema"] == "s2mlp.trace/1"
    (result,) = record["results"]
    assert 0 < result["shift_share"] < 1
    assert any(row["name"] == "aten::linear" for row in result["operators"])


def test_open_starts_tensorboard_and_says_what_its_page_needs(traces, monkeypatch):
    started = []

    class Server:
        def __init__(self, words):
            started.append(words)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            started.append("left")

        def wait(self):
            raise KeyboardInterrupt

        def terminate(self):
            started.append("ended")

    monkeypatch.setattr(subprocess, "Popen", Server)
    done = CliRunner().invoke(command, [str(traces), "--open", "--port", "6123"])
    assert started[0][1:] == [
        "-m", "tensorboard.main", "--logdir", str(traces), "--port", "6123",
    ]  # fmt: skip
    assert started[1:] == ["ended", "left"]
    text = " ".join(done.stderr.split())
    assert "http://localhost:6123/#pytorch_profiler" in text
    assert NEEDS_NETWORK in text


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path):
    done = CliRunner().invoke(command, [str(tmp_path / "nowhere")])
    assert done.exit_code == 2
