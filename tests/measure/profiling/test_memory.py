"""Memory of a workload in a child process: what a process needs that runs it alone."""

import dataclasses
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor.exc import InductorError

from s2mlp_cli.measure.profiling import memory
from s2mlp_cli.measure.profiling.compiling import fresh_compiler
from s2mlp_cli.measure.profiling.memory import child_memory, file_memory
from s2mlp_cli.measure.profiling.resident import Resident, peak_resident_bytes, resident_bytes
from s2mlp_cli.measure.profiling.workloads import build_workload
from s2mlp_cli.measure.source import module_model
from s2mlp_cli.runtimes.export import export_onnx
from s2mlp_cli.specs import load_spec
from tests.tiny import case as make_case

ROOT = Path(__file__).parent.parent.parent.parent

# What somebody would measure by hand: a new process that builds the model and runs it.
FRESH = """
import re
from pathlib import Path
import torch
from s2mlp_cli.models import build_model
from s2mlp_cli.specs import load_spec

def status(name):
    return int(re.search(rf"^{name}:\\s+(\\d+)", Path("/proc/self/status").read_text(), re.M)[1]) * 1024

torch.set_num_threads(1)
with torch.inference_mode():
    model = build_model(load_spec("v2-small")).to(torch.bfloat16)
    images = torch.randn(2, 3, 224, 224).to(torch.bfloat16)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for _ in range(2):
        model(images)
    print(status("VmHWM"), status("VmHWM") - before)
"""


def test_a_child_tells_what_its_own_workload_needs(tiny):
    small = make_case(tiny)
    large = dataclasses.replace(small, batch_size=2048)
    small_memory, large_memory = (child_memory(case, "slice", 1) for case in (small, large))
    images = 2048 * 3 * 24 * 24 * 4
    assert large_memory.peak > small_memory.peak + images
    assert large_memory.added > small_memory.added


def test_a_child_tells_what_a_fresh_process_needs_libraries_included():
    """And building, which for bf16 draws float32 weights first, is no part of a run."""
    words = [sys.executable, "-c", FRESH]
    told = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    peak, added = map(int, told.stdout.split())
    found = child_memory(make_case(load_spec("v2-small"), dtype="bf16", batch_size=2), "slice", 1)
    assert found.peak == pytest.approx(peak, rel=0.03)
    assert found.added == pytest.approx(added, abs=8 * 2**20)


def test_a_child_that_runs_out_of_memory_says_so(tiny):
    case = make_case(tiny, "op", batch_size=2**36)
    assert child_memory(case, "slice", 1) == "out of memory in the helper process"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (EOFError(), "the helper process was killed"),
        (ConnectionRefusedError(), "the helper process was killed before it started"),
        (OSError("AF_UNIX path too long"), "cannot start (OSError: AF_UNIX path too long)"),
        (RuntimeError("no more processes"), "cannot start (RuntimeError: no more processes)"),
    ],
)
def test_whatever_keeps_the_helper_from_starting_is_a_reason_and_loses_no_timing(
    tiny, monkeypatch, fault, words
):
    def dead(descriptors):
        raise fault

    monkeypatch.setattr("multiprocessing.forkserver.connect_to_new_process", dead)
    assert words in child_memory(make_case(tiny, "op"), "slice", 1)


def test_a_folder_of_temporary_files_with_a_long_name_is_a_reason(tmp_path):
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    script = (
        "from tests.tiny import case\n"
        "from s2mlp_cli.measure.profiling.memory import child_memory\n"
        "print(child_memory(case(level='op'), 'slice', 1))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
    )  # fmt: skip
    assert "AF_UNIX path too long" in told.stdout


def test_a_child_that_is_killed_or_fails_says_so(tiny):
    assert "(exit status -9)" in asked_of(killed, tiny)
    assert asked_of(failing, tiny) == "the helper process failed (ValueError: no such thing)"


def asked_of(run, tiny):
    """Return what is told of a child that does ``run`` in the place of a workload."""
    context = multiprocessing.get_context("fork")
    original = memory._resident
    memory._resident = run
    try:
        return memory._asked(context, make_case(tiny, "op"), "slice", 1)
    finally:
        memory._resident = original


def killed(case, shift):
    os.kill(os.getpid(), 9)


def failing(case, shift):
    raise ValueError("no such thing")


def test_a_child_finds_what_was_compiled_for_the_timing_in_the_cache(tiny):
    """Here the child's compiler is the one of this process, which has forgotten everything."""
    case = make_case(tiny, "block", compile="block")
    with fresh_compiler(), case.context():
        try:
            build_workload(case, "slice").run()
        except InductorError as error:
            pytest.skip(f"nothing compiles here: {error}")
    counters["inductor"].clear()
    with memory._compiler():
        memory._resident(case, "slice")
    assert counters["inductor"]["fxgraph_cache_hit"] > 0
    assert counters["inductor"]["fxgraph_cache_miss"] == 0


def test_a_module_of_a_python_program_cannot_travel(tiny):
    case = dataclasses.replace(make_case(tiny), model=module_model(torch.nn.Identity()))
    assert child_memory(case, None, 1) == "not measured for a module that a Python program passed"


def test_this_process_has_memory():
    """Linux counts both in batches of pages per thread, so that they may cross by a little."""
    assert 2**20 < resident_bytes() < 1.01 * peak_resident_bytes()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 5))
    export_onnx(net.eval(), (3, 32, 32), path)
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_exported_file_runs_in_a_process_without_torch(onnx_file, runtime):
    pytest.importorskip(runtime)
    small, large = (
        file_memory(onnx_file, runtime, 1, "fp32", (batch, 3, 32, 32)) for batch in (1, 4096)
    )
    images = 4096 * 3 * 32 * 32 * 4
    # A little of it may be room that a smaller batch had left free.
    assert large.peak > small.peak + 0.9 * images
    assert large.added >= small.added
    assert small.peak < resident_bytes()  # this process has torch in it


def test_a_helper_for_a_file_that_fails_is_a_reason_and_loses_no_timing(onnx_file, monkeypatch):
    pytest.importorskip("onnxruntime")
    assert isinstance(file_memory(onnx_file, "onnxruntime", 1, "fp32", (2, 3, 32, 32)), Resident)
    assert file_memory(onnx_file, "onnxruntime", 1, "fp32", (2, 3, 9, 9)) == (
        "the helper process ended early (exit status 1): out of memory?"
    )
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert "cannot start" in file_memory(onnx_file, "onnxruntime", 1, "fp32", (2, 3, 32, 32))
