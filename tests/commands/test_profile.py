"""`s2mlp profile` as its users run it: on a small model, with little time."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from s2mlp_cli.cli import group
from s2mlp_cli.commands.profile import command, partial_file, progress_bar
from s2mlp_cli.errors import S2MLPError
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.reading import read_record
from tests.processes import members, needs_proc, wait_until

ROOT = Path(__file__).parent.parent.parent
QUICK = ["--threads", "1", "--min-time", "0", "--max-time", "0.02"]
TINY = """\
extends: v2-small
name: tiny
input_size: 28
classes: 10
stages:
  - {patch: 4, dim: 16, depth: 1, expansion: 3}
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(autouse=True, scope="module")
def small_roofline():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s2mlp_cli.measure.profiling.device._COPY_BYTES", {"cpu": 1000})
        patch.setattr("s2mlp_cli.measure.profiling.device._MATMUL_SIDE", {"cpu": 10})
        yield


def invoke(*arguments):
    return CliRunner().invoke(command, list(map(str, arguments)))


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "s2mlp_cli", "profile", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_stdout_is_one_document_the_file_is_the_same_and_stderr_is_silent(tiny, tmp_path):
    output = tmp_path / "record.json"
    process = start(
        "--shift", "conv", "--model", tiny, "--level", "block", *QUICK,
        "--format", "json", "-o", str(output),
    )  # fmt: skip
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr) == (0, "")
    record = json.loads(stdout)
    assert record["schema"] == "s2mlp.profile/1"
    assert [row["shift"] for row in record["results"]] == ["slice", "none", "conv"]
    assert all(row["memory"]["peak_rss_bytes"] > 2**20 for row in record["results"])
    assert record["command"][:2] == ["s2mlp", "profile"]
    saved = json.loads(output.read_text())
    assert saved["results"] == record["results"]


def test_a_record_to_resume_that_is_not_there_is_begun(tiny, tmp_path):
    output = tmp_path / "record.json"
    done = invoke(
        "--model", tiny, "--shift", "conv", *QUICK, "--level", "op", "--resume", str(output)
    )
    assert done.exit_code == 0
    assert done.stderr == f"{output} does not exist yet: it begins now\n"
    assert [row.shift for row in read_record(output).results] == ["slice", "none", "conv"]


def test_a_compiled_model_is_timed_and_nothing_of_the_compiler_leaks(tiny, tmp_path):
    """Where there is no C++ compiler, the rows say so."""
    output = tmp_path / "record.json"
    process = start(
        "--shift", "slice", "--model", tiny, "--level", "model", "--compile", *QUICK,
        "-o", str(output),
    )  # fmt: skip
    _, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr) == (0, "")
    rows = read_record(output).results
    assert [row.shift for row in rows] == ["slice", "none"]
    assert {(row.compiled, row.compile, row.compile_mode) for row in rows} == {
        (True, "block", "default")
    }
    assert all(row.compile_s > 0 and row.memory.peak_rss_bytes for row in rows if row.median_s)
    assert all(row.median_s or row.skipped.startswith("torch.compile: ") for row in rows)


def test_a_model_is_trained_in_bf16_on_a_cpu(tiny):
    done = invoke(
        "--shift", "conv,fused", "--model", tiny, *QUICK, "--level", "block,model",
        "--mode", "training", "--dtype", "bf16", "--format", "json",
    )  # fmt: skip
    rows = json.loads(done.stdout)["results"]
    assert len(rows) == 8
    assert all(row["median_s"] for row in rows)


def test_resume_measures_only_what_is_missing(tiny, tmp_path):
    output = tmp_path / "record.json"
    common = ["--shift", "conv,inplace", "--model", tiny, *QUICK]
    assert invoke(*common, "--level", "op", "-o", str(output)).exit_code == 0
    first = json.loads(output.read_text())["results"]
    assert [row["shift"] for row in first] == ["slice", "none", "conv", "inplace"]
    assert first[3]["skipped"].startswith("wrong values: off the reference by")
    assert invoke(*common, "--level", "op,block", "--resume", str(output)).exit_code == 0
    both = json.loads(output.read_text())["results"]
    assert both[:4] == first
    assert [row["level"] for row in both[4:]] == ["block"] * 4


@needs_proc
@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)], ids=["Ctrl-C twice", "SIGTERM"]
)
def test_what_stops_it_keeps_what_was_measured_and_says_how_to_go_on(tiny, tmp_path, signals):
    output = tmp_path / "my record.json"
    output.write_text("an older record, complete")
    process = start(
        "--shift", "conv", "--model", tiny, "--threads", "1", "-o", str(output),
        "--min-time", "0.1", "--max-time", "1", "--level", "op,block",
    )  # fmt: skip
    assert wait_until(partial_file(output).exists)
    time.sleep(0.3)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[signals[0]]
    assert output.read_text() == "an older record, complete"
    kept = json.loads(partial_file(output).read_text())["results"]
    assert [row["level"] for row in kept] == ["op"] * 3
    assert "Traceback" not in stderr
    remark = next(line for line in stderr.splitlines() if "continue with" in line)
    assert remark == (
        f"3 rows are in {partial_file(output)}; tiny block stage 0, batch 1, fp32 was not "
        f"finished and is lost; continue with: s2mlp profile --resume '{output}'"
    )
    assert list(tmp_path.glob(".*")) == []
    assert wait_until(lambda: members(process.pid) == [], seconds=5)
    done = invoke("--resume", str(output))
    assert done.exit_code == 0
    rows = json.loads(output.read_text())["results"]
    assert rows[:3] == kept
    assert [row["level"] for row in rows[3:]] == ["block"] * 3
    assert not partial_file(output).exists()


def test_a_disk_that_fills_in_the_midst_keeps_the_file_and_shows_the_rest(
    tiny, tmp_path, monkeypatch
):
    output = tmp_path / "record.json"

    def full(descriptor):
        if partial_file(output).exists():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = invoke(
        "--shift", "conv", "--model", tiny, *QUICK, "--level", "op,block",
        "--format", "json", "-o", str(output),
    )  # fmt: skip
    assert str(done.exception).startswith(
        f"cannot write {partial_file(output)}: No space left on device;"
    )
    shown = json.loads(done.stdout)["results"]
    assert [row["level"] for row in shown] == ["op"] * 3 + ["block"] * 3
    assert json.loads(partial_file(output).read_text())["results"] == shown[:3]
    assert list(tmp_path.glob(".*")) == []


@needs_proc
def test_kill_9_at_any_moment_is_completed_by_resume(tiny, tmp_path):
    """Killed before anything was saved, then after a save: no half file, nobody left over."""
    output = tmp_path / "record.json"
    arguments = [
        "--shift", "conv", "--model", tiny, "--threads", "1", "--resume", str(output),
        "--min-time", "0", "--max-time", "0.1", "--level", "op,block",
    ]  # fmt: skip
    kept = 0
    for saved in (0, 3):
        process = start(*arguments)
        assert wait_until(lambda: rows_of(output) >= saved and members(process.pid))  # noqa: B023
        process.kill()
        process.communicate(timeout=60)
        assert kept <= rows_of(output) <= 6
        kept = rows_of(output)
        assert list(tmp_path.glob(".*")) == []
        assert wait_until(lambda: members(process.pid) == [], seconds=5)  # noqa: B023
    process = start(*arguments)
    assert process.communicate(timeout=120)[1] == ""
    record = read_record(output)
    assert process.returncode == 0
    assert len({row.key for row in record.results}) == len(record.results) == 6
    assert sum(run.rows for run in record.earlier) == kept


def rows_of(path):
    file = partial_file(path) if partial_file(path).exists() else path
    return len(read_record(file).results) if file.exists() else 0


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C comes before the first case is done."""
    from s2mlp_cli.measure.profiling.profiler import Profiler

    monkeypatch.setattr(Profiler, "run", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))


def test_ctrl_c_before_the_first_case_touches_no_file(tiny, tmp_path, interrupted):
    output = tmp_path / "record.json"
    for before in (None, "an older record, complete"):
        if before:
            output.write_text(before)
        done = invoke("--shift", "conv", "--model", tiny, "-o", output)
        assert done.stderr.startswith(f"nothing was measured yet, and {output} was not touched\n")
        assert [path.name for path in tmp_path.iterdir() if path.name != "tiny.yaml"] == (
            ["record.json"] if before else []
        )
    assert output.read_text() == "an older record, complete"


def test_a_complete_record_that_is_resumed_is_not_written_again(tiny, tmp_path):
    output = tmp_path / "record.json"
    first = invoke("--shift", "conv", "--model", tiny, *QUICK, "--level", "op", "-o", output)
    assert first.exit_code == 0
    written = output.stat().st_mtime_ns
    again = invoke("--resume", output, "--format", "json")
    assert json.loads(again.stdout) == json.loads(output.read_text())
    assert output.stat().st_mtime_ns == written


def test_finished_cases_of_an_interrupted_run_are_not_replaced_without_a_word(tiny, tmp_path):
    output = tmp_path / "record.json"
    partial_file(output).write_text("{}")
    done = invoke("--shift", "conv", "--model", tiny, *QUICK, "--level", "op", "-o", output)
    assert "of an interrupted run will be replaced; --resume would continue it" in done.stderr


def test_resume_alone_goes_on_with_everything_the_record_was_asked_for(tiny, tmp_path):
    output = tmp_path / "record.json"
    given = [
        "--shift", "conv", "--model", tiny, "--level", "block", "--dtype", "bf16",
        "--input-size", "28", "--input-size", "56x28", "--batch-size", "2", "--mode", "training",
        "--seed", "7", *QUICK,
    ]  # fmt: skip
    assert invoke(*given, "-o", output).exit_code == 0
    whole = read_record(output)
    assert {row.input_size for row in whole.results} == {(28, 28), (56, 28)}
    part = changed(whole, results=whole.results[:3])
    output.write_text(part.to_json())
    done = invoke("--resume", output)
    assert done.exit_code == 0
    record = read_record(output)
    assert [row.key for row in record.results] == [row.key for row in whole.results]
    assert record.request == whole.request
    assert (record.settings, record.specs) == (whole.settings, whole.specs)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A record of one level."""
    folder = tmp_path_factory.mktemp("measured")
    model, output = folder / "tiny.yaml", folder / "record.json"
    model.write_text(TINY)
    done = invoke("--shift", "conv", "--model", model, *QUICK, "--level", "op", "-o", output)
    assert done.exit_code == 0
    return output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dtype", "bf16"], "--dtype bf16 contradicts .* has --dtype fp32; leave --dtype"),
        (["--model", "v1-wide"], "--model v1-wide contradicts .* has --model tiny;"),
        (["--shift", "roll"], "--shift roll contradicts .* has --shift conv;"),
        (["--compile"], "--compile block contradicts .* has --compile off;"),
        (["--hot"], "--hot on contradicts .* has --hot off;"),
        (["--seed", "5"], "--seed 5 contradicts .* has --seed 0;"),
        (["--max-time", "7"], "--max-time 7.0 contradicts .* has --max-time 0"),
        (["--set", "classes=7"], "--set classes=7 contradicts .* has tiny with classes=10;"),
        (["--set", "nothing=7"], "--set nothing=7 contradicts .* has nothing with nothing;"),
    ],
)
def test_an_option_that_contradicts_the_record_is_refused_with_both_named(measured, options, words):
    before = measured.read_text()
    refused = invoke("--resume", measured, *options)
    assert re.search(words, str(refused.exception))
    assert measured.read_text() == before


def test_what_agrees_with_the_record_is_accepted(measured):
    before = measured.read_text()
    assert invoke("--resume", measured, "--set", "classes=10", "--seed", "0").exit_code == 0
    assert measured.read_text() == before


@pytest.mark.parametrize("shift", ["fused", "inplace"])
def test_when_nothing_was_timed_the_command_fails(tiny, tmp_path, shift):
    """One is known not to run there, the other is found wrong."""
    done = invoke("--shift", shift, "--model", tiny, *QUICK, "--level", "op", "--format", "json")
    assert isinstance(done.exception, S2MLPError)
    assert done.exception.exit_code == 1
    assert shift in str(done.exception)


def test_ctrl_c_without_a_file_shows_what_was_measured(tiny, interrupted):
    done = invoke("--shift", "conv", "--model", tiny)
    assert "Nothing was timed." in done.stdout
    assert "0 rows were measured; next time -o FILE.json keeps them for --resume" in done.stderr
    assert done.exit_code == 1  # click's own boundary; that of s2mlp makes it 130


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch-size", "0"], "'0' is not a batch size; use 1, or 8,64, or max"),
        (["--batch-size", "1,-2"], "'-2' is not a batch size"),
        (["--batch-size", "1,,2"], "'' is not a batch size"),
        (["--dtype", "fp8"], "'fp8' is not one of fp32, tf32, bf16, fp16"),
        (["--level", "op,layer"], "'layer' is not one of op, block, model"),
        (["--max-time", "0"], "0.0 is not in the range x>0"),
        (["--max-time", "nan"], "'nan' is not a finite number"),
        (["--min-time", "inf"], "'inf' is not a finite number"),
        (["--seed", "4294967296"], "is not in the range 0<=x<=4294967295"),
        (["--threads", "0"], "0 is not in the range"),
        (["-o", "rows.csv"], "let the file end with .json"),
        (["--resume", "nowhere/rows.json"], "there is no folder 'nowhere' to write to"),
        (["--resume", "rows.csv"], "let the file end with .json"),
        (["--compile-mode", "max-autotune"], "--compile-mode needs --compile"),
        (["--compile", "parts"], "'parts' is not one of 'block', 'model'"),
        (
            ["--compile", "--compile-mode", "reduce-overhead", "--cuda-graph"],
            "--compile-mode reduce-overhead makes its own CUDA graphs; leave out --cuda-graph",
        ),
    ],
)
def test_wrong_usage_is_said_with_what_is_allowed(arguments, words):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_read_only_folder_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    done = invoke("-o", str(tmp_path / "rows.json"))
    assert done.exit_code == 2
    assert f"the folder '{tmp_path}' is read-only" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "cuda:7"], "there is no device 'cuda:7' here"),
        (["--dtype", "tf32", "--device", "cpu"], "cpu does not support tf32"),
        (["--shift", "cnov"], "no shift implementation 'cnov'; did you mean 'conv'? known:"),
        (["--shift", "all,cnv"], "no shift implementation 'cnv'; did you mean 'conv'? known:"),
        (["--model", "v2-smal"], "no model 'v2-smal'; did you mean 'v2-small' or 'v2-small-14'?"),
        (["--batch-size", "max", "--device", "cpu"], "--batch-size max needs a CUDA device"),
        (["--cuda-graph", "--device", "cpu"], "--cuda-graph needs a CUDA device"),
        (["--trace", "/proc/traces"], "cannot make the folder /proc/traces"),
        (["--input-size", "225"], "225"),
    ],
)
def test_what_cannot_be_measured_here_is_one_sentence(arguments, words):
    done = invoke(*arguments)
    assert isinstance(done.exception, S2MLPError)
    assert words in str(done.exception)


def test_traces_are_written_after_the_measuring_and_trace_reads_them(tiny, tmp_path):
    folder = tmp_path / "my traces"
    done = invoke(
        "--shift", "conv,inplace", "--model", tiny, *QUICK, "--level", "model", "--trace", folder
    )
    assert done.exit_code == 0
    written = [path.parent.name for path in folder.rglob("*.pt.trace.json")]
    assert sorted(name.split("-")[1] for name in written) == ["conv", "none", "slice"]
    assert "no trace: tiny-inplace-cpu-fp32-b1-28x28-inference: wrong values" in done.stderr
    assert done.stderr.endswith(f"read them with: s2mlp trace '{folder}'\n")
    read = CliRunner().invoke(group, ["trace", str(folder), "--format", "json"])
    assert len(json.loads(read.stdout)["results"]) == 3


def test_only_a_profile_is_resumed(tmp_path):
    other = tmp_path / "count.json"
    other.write_text('{"schema": "s2mlp.count/1"}')
    assert isinstance(invoke("--resume", str(other)).exception, S2MLPError)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_the_step_and_an_estimate_on_a_terminal():
    stream = Terminal()
    console = Console(file=stream, force_terminal=True, width=100, legacy_windows=False)
    with progress_bar(console) as tell:
        tell("1/5 tiny op stage 0: checking conv (1 of 3)", 0.0, None)
        tell("2/5 tiny model: timing", 0.4, 9.4)
    assert "checking conv (1 of 3)" in stream.getvalue() or "timing" in stream.getvalue()
    assert "about 9 s left" in stream.getvalue()


@pytest.mark.parametrize("force", [False, True])
def test_a_file_gets_no_bar_even_if_colours_are_forced(force, monkeypatch):
    if force:
        monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with progress_bar(Console(file=stream, width=100)) as tell:
        tell("2/5 tiny model: timing", 0.4, 9.4)
    assert stream.getvalue() == ""


def test_the_precision_of_files_without_a_runtime_is_refused(tiny):
    done = invoke("--model", tiny, "--shift", "conv", "--precision", "int8", *QUICK)
    assert done.exit_code == 2
    assert "--precision is that of exported files: add --runtime" in done.stderr


def test_a_level_that_the_model_lacks_is_a_sentence(tmp_path):
    code = tmp_path / "net.py"
    code.write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2))\n"
    )
    with pytest.raises(S2MLPError, match="has no levels op and block; use --level model"):
        CliRunner().invoke(
            command, ["--model", f"{code}:net", "--level", "op", *QUICK], catch_exceptions=False
        )


def test_what_code_prints_goes_to_stderr_and_its_products_are_counted_wherever_it_runs(tmp_path):
    code = tmp_path / "net.py"
    code.write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.head = nn.Linear(3 * 8 * 8, 5)\n"
        "    def forward(self, images):\n"
        "        print('running')\n"
        "        return self.head(images.flatten(1)) * float(images.sum() > -1e9)\n"
    )
    done = invoke("--model", f"{code}:Net", "--input-size", "8", *QUICK, "--format", "json")
    (row,) = json.loads(done.stdout)["results"]
    assert "running" in done.stderr
    assert row["median_s"]
    assert row["matmul_fraction"] > 0
    assert row["memory"]["peak_rss_bytes"] > 0
