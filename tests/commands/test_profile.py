"""`s2mlp profile` as its users run it: on a small model, with little time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from s2mlp_cli.cli import group
from s2mlp_cli.commands import resuming
from s2mlp_cli.commands.profile import command
from s2mlp_cli.commands.progress import progress_bar
from s2mlp_cli.errors import S2MLPError, WriteError
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


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr("s2mlp_cli.measure.profiling.limits._COPY_BYTES", {"cpu": 1000})
    monkeypatch.setattr("s2mlp_cli.measure.profiling.limits._MATMUL_SIDE", {"cpu": 10})


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
    assert done.stderr == f"{output} is not there yet: it begins now\n"
    assert [row.shift for row in read_record(output).results] == ["slice", "none", "conv"]


@pytest.mark.slow
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
    assert all(row.compiled for row in rows)
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
    assert first[3]["skipped"].startswith("wrong values: off the definition by")
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
    process = start(
        "--shift", "conv", "--model", tiny, "--threads", "1", "-o", str(output),
        "--min-time", "0.1", "--max-time", "1", "--level", "op,block",
    )  # fmt: skip
    assert wait_until(output.exists)
    time.sleep(0.3)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[signals[0]]
    kept = json.loads(output.read_text())["results"]
    assert [row["level"] for row in kept] == ["op"] * 3
    assert "Traceback" not in stderr
    remark = next(line for line in stderr.splitlines() if "go on with" in line)
    assert remark.startswith(
        f"3 rows are in {output}; tiny block stage 0, batch 1, fp32, was not finished and is lost; "
        "go on with: s2mlp profile --shift conv"
    )
    assert remark.endswith(f"--resume '{output}'")
    assert list(tmp_path.glob(".*")) == []
    assert wait_until(lambda: members(process.pid) == [], seconds=5)


def test_a_disk_that_fills_in_the_midst_keeps_the_file_and_shows_the_rest(
    tiny, tmp_path, monkeypatch
):
    output = tmp_path / "record.json"

    def full(descriptor):
        if output.exists():
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = invoke(
        "--shift", "conv", "--model", tiny, *QUICK, "--level", "op,block",
        "--format", "json", "-o", str(output),
    )  # fmt: skip
    assert str(done.exception).startswith(f"cannot write {output}: No space left on device;")
    shown = json.loads(done.stdout)["results"]
    assert [row["level"] for row in shown] == ["op"] * 3 + ["block"] * 3
    assert json.loads(output.read_text())["results"] == shown[:3]
    assert list(tmp_path.glob(".*")) == []


@needs_proc
@pytest.mark.slow
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
    return len(read_record(path).results) if path.exists() else 0


@pytest.mark.parametrize("given", [["--resume", "old.json"], ["--resume=old.json"], []])
def test_the_command_to_go_on_with_resumes_exactly_one_file(given, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["s2mlp", "profile", *given, "--shift", "conv"])
    monkeypatch.setattr(resuming, "save", lambda record, output: None)
    resuming.stopped(SimpleNamespace(results=()), None, "table", Path("old.json"))
    command = capsys.readouterr().err.strip().rpartition("go on with: ")[2]
    assert command == "s2mlp profile --shift conv --resume old.json"


def test_what_cannot_be_saved_when_it_stops_is_shown(monkeypatch):
    def full(record, output):
        raise WriteError("cannot write old.json: No space left on device")

    shown = []
    monkeypatch.setattr(resuming, "save", full)
    monkeypatch.setattr(resuming, "emit", lambda *given: shown.append(given))
    record = SimpleNamespace(results=())
    with pytest.raises(WriteError, match="No space left"):
        resuming.stopped(record, None, "csv", Path("old.json"))
    assert shown == [(record, "csv", None)]


def test_ctrl_c_without_a_file_shows_what_was_measured(tiny, monkeypatch):
    from s2mlp_cli.measure.profiling.profiler import Profiler

    monkeypatch.setattr(Profiler, "run", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
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
        (["--cuda-graph", "--mode", "training"], "--cuda-graph replays inference only"),
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
        (["--model", "v2-smal"], "no model 'v2-smal'; did you mean 'v2-small'?"),
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


def test_the_bar_shows_what_is_measured_on_a_terminal_and_nothing_elsewhere():
    for is_terminal in (True, False):
        console = Console(force_terminal=is_terminal, width=100, legacy_windows=False)
        with console.capture() as capture, progress_bar(console) as tell:
            tell("v2-small model, batch 1, fp32", 3.0, 12.0)
        assert ("v2-small model, batch 1, fp32" in capture.get()) == is_terminal
        assert ("at most 9 s left" in capture.get()) == is_terminal
