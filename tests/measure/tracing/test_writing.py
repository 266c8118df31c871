import dataclasses
import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from s2mlp_cli.errors import RecordError, WriteError, printable
from s2mlp_cli.measure.profiling.workloads import build_workload
from s2mlp_cli.measure.tracing.reading import find_traces, read_trace
from s2mlp_cli.measure.tracing.writing import (
    STEPS,
    run_name,
    scoped_modules,
    scopes,
    trace_case,
    try_to_trace,
)
from s2mlp_cli.records.trace import TraceRecord
from tests.samples import ENVIRONMENT
from tests.tiny import case as make_case


@pytest.fixture(scope="module")
def traces(tiny, tmp_path_factory):
    """Real traces of a tiny model: with a shift of its own, and in training."""
    folder = tmp_path_factory.mktemp("traces")
    trace_case(make_case(tiny, batch_size=2), "slice", folder / "inference")
    training = make_case(tiny, batch_size=2, mode="training")
    trace_case(training, "slice", folder / "training")
    return folder


@pytest.fixture(scope="module")
def inference(traces):
    return read_trace(find_traces(traces)[0], traces)


def test_stages_blocks_mixers_and_shifts_are_named(inference):
    assert [(scope.name, scope.calls) for scope in inference.scopes] == [
        ("model", STEPS),
        ("stages.*", 2 * STEPS),
        ("stages.*.blocks.*", 3 * STEPS),
        ("stages.*.blocks.*.mixer", 3 * STEPS),
        ("stages.*.blocks.*.mixer.shift", 3 * STEPS),
        ("stages.*.blocks.*.mlp", 3 * STEPS),
        ("stages.*.patch", 2 * STEPS),
    ]


def test_a_trace_says_what_was_traced(inference):
    case = inference.case
    assert (case.model, case.shift, case.device, case.dtype) == ("tiny", "slice", "cpu", "fp32")
    assert (case.batch_size, case.input_size, case.mode) == (2, (24, 24), "inference")


def test_inner_scopes_take_a_part_of_the_outer_ones(inference):
    shares = [
        next(scope.share for scope in inference.scopes if scope.name == name)
        for name in (
            "stages.*.blocks.*.mixer.shift", "stages.*.blocks.*.mixer", "stages.*", "model",
        )
    ]  # fmt: skip
    assert 0 < shares[0] < shares[1] < shares[2] < shares[3] == 1
    assert inference.shift_share == shares[0]
    assert inference.steps == STEPS
    assert inference.step_s > 0


def test_operators_modules_and_memory_come_from_the_parser(inference):
    calls = {operator.name: operator.calls for operator in inference.operators}
    assert calls["aten::linear"] == STEPS * (3 * 6 + 1)
    assert inference.operators[0].host_self_s >= inference.operators[-1].host_self_s
    assert inference.modules[0].name.startswith("S2MLP")
    assert inference.modules[1].depth == 1
    assert any("SpatialShiftMixer" in module.name for module in inference.modules)
    memory = {row.name: row for row in inference.memory}
    assert memory["aten::addmm"].self_allocated_bytes > 0
    assert inference.kernels == ()


def test_training_is_traced_with_its_backward(traces):
    training = read_trace(find_traces(traces)[1], traces)
    assert training.run == "training"
    assert any("Backward" in operator.name for operator in training.operators)


def test_whatever_differs_has_a_folder_of_its_own(tiny):
    plain = make_case(tiny, batch_size=2)
    others = [
        dataclasses.replace(plain, **{name: value})
        for name, value in {
            "model": plain.model.at((48, 24)),
            "device": "cuda:0",
            "dtype": "bf16",
            "batch_size": 3,
            "mode": "training",
            "compile": "block",
            "channels_last": True,
        }.items()
    ]
    compiled = make_case(tiny, batch_size=2, compile="model")
    others += [compiled, dataclasses.replace(compiled, compile_mode="max-autotune")]
    names = {run_name(case, "slice") for case in (plain, *others)} | {run_name(plain, "conv")}
    assert len(names) == 2 + len(others)
    assert run_name(others[6], "slice") == "tiny-slice-cpu-fp32-b2-24x24-inference-channels-last"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), "out of memory at batch 2"),
        (RuntimeError("\"im2col\" not implemented for 'Half'"), 'fp32 on cpu: "im2col" not'),
    ],
)
def test_what_cannot_be_traced_here_is_left_out_with_its_reason(
    tiny, tmp_path, monkeypatch, error, reason
):
    def build(case, shift):
        raise error

    monkeypatch.setattr("s2mlp_cli.measure.tracing.writing.build_workload", build)
    case = make_case(tiny, batch_size=2)
    assert try_to_trace(case, "slice", tmp_path).skipped.startswith(reason)
    assert list(tmp_path.iterdir()) == []


def test_any_other_fault_of_a_traced_run_is_a_bug_and_raised(tiny, tmp_path, monkeypatch):
    def build(case, shift):
        raise RuntimeError("index out of bounds")

    monkeypatch.setattr("s2mlp_cli.measure.tracing.writing.build_workload", build)
    with pytest.raises(RuntimeError, match="out of bounds"):
        try_to_trace(make_case(tiny, batch_size=2), "slice", tmp_path)


def test_a_trace_of_which_a_part_is_missing_is_a_fault_and_goes(tiny, tmp_path, monkeypatch):
    """As on a full disk, about which the profiler says nothing."""

    def cut_off(profiler, path):
        Path(f"{path}.tmp").write_text('{"traceEvents": [')

    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", cut_off)
    with pytest.raises(WriteError, match="only a part of the trace arrived on the disk; choose"):
        try_to_trace(make_case(tiny, batch_size=2), "slice", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_hooks_are_gone_after_the_run(tiny):
    workload = build_workload(make_case(tiny, batch_size=1), "slice")
    with scopes(workload), torch.inference_mode():
        workload.run()
        assert any(part._forward_hooks for part in workload.module.modules())
    assert not any(
        part._forward_hooks or part._forward_pre_hooks for part in workload.module.modules()
    )
    assert len(scoped_modules(workload.module)) == 2 + 2 + 3 * 4


def test_compressed_traces_are_read_too(traces, inference, tmp_path):
    plain = find_traces(traces)[0]
    packed = tmp_path / "run" / f"{plain.name}.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_trace(packed, tmp_path).scopes == inference.scopes


def test_kernels_of_a_gpu_are_summed_by_name(tmp_path):
    """A trace as a GPU gives it, written by hand: two launches of one kernel in one operator."""
    path = tmp_path / "gpu.pt.trace.json"
    path.write_text(json.dumps(GPU_TRACE))
    result = read_trace(path, tmp_path)
    assert [(kernel.name, kernel.calls) for kernel in result.kernels] == [("shift_kernel", 2)]
    assert result.kernels[0].total_s == pytest.approx(60e-6)
    assert result.kernels[0].mean_s == pytest.approx(30e-6)
    operator = next(row for row in result.operators if row.name == "aten::copy_")
    assert operator.device_self_s == pytest.approx(60e-6)
    assert result.shift_share == pytest.approx(0.25)  # of the GPU's annotations, not the host's


def event(category, name, start, duration, thread=1, process=10, **args):
    return {
        "ph": "X", "cat": category, "name": name, "pid": process, "tid": thread,
        "ts": start, "dur": duration, "args": args,
    }  # fmt: skip


GPU_TRACE = {
    "schemaVersion": 1,
    "deviceProperties": [
        {"id": 0, "name": "GPU", "totalGlobalMem": 2**34, "computeMajor": 9, "computeMinor": 0,
         "numSms": 100},
    ],
    "traceEvents": [
        event("user_annotation", "ProfilerStep#0", 0, 1000, **{"External id": 1}),
        event("user_annotation", "model", 1, 900),
        event("user_annotation", "stages.0.blocks.0.mixer.shift", 2, 800),
        event("cpu_op", "aten::copy_", 5, 100, **{"External id": 2}),
        *(
            event("cuda_runtime", "cudaLaunchKernel", 10 + 20 * i, 5,
                  **{"External id": 2, "correlation": 7 + i})
            for i in range(2)
        ),
        *(
            event("kernel", "shift_kernel", 200 + 50 * i, 20 + 20 * i, thread=7, process=0,
                  **{"External id": 2, "correlation": 7 + i, "device": 0, "stream": 7,
                     "grid": [1, 1, 1], "block": [32, 1, 1], "registers per thread": 8,
                     "shared memory": 0, "blocks per SM": 1.0,
                     "est. achieved occupancy %": 50})
            for i in range(2)
        ),
        event("gpu_user_annotation", "model", 200, 240, thread=7, process=0),
        event("gpu_user_annotation", "stages.0.blocks.0.mixer.shift", 200, 60, 7, 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Expecting value"),
        (b"{}", "it has no traceEvents"),
        (b"[1, 2]", "it has no traceEvents"),
        (b"\x1f\x8b\x08cut", "codec can't decode"),
        (b'{"traceEvents": []}', "not a whole trace"),
        (b'{"traceEvents": [{"ph": "X", "cat": "cpu_op"}]}', "not a whole trace"),
        (b'{"traceEvents": [1, 2]}', "event 0: it is not an object"),
        (b'{"traceEvents": [{"cat": "user_annotation", "name": "model"}]}', "not a whole trace"),
        (b'{"traceEvents": [{"cat": "user_annotation", "name": 3}]}', "not a whole trace"),
    ],
)
def test_what_is_no_trace_is_a_sentence(tmp_path, content, words):
    path = tmp_path / "x.pt.trace.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=words) as caught:
        read_trace(path, tmp_path)
    assert str(path) in str(caught.value)


def test_a_trace_that_was_cut_off_is_a_sentence(traces, tmp_path):
    whole = find_traces(traces)[0].read_bytes()
    path = tmp_path / "x.pt.trace.json"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordError, match="not a whole trace of torch.profiler"):
        read_trace(path, tmp_path)


def test_an_empty_folder_says_how_to_make_traces(tmp_path):
    with pytest.raises(RecordError, match=r"there is no trace .* s2mlp profile --trace"):
        find_traces(tmp_path)


def test_traces_lie_where_tensorboards_plugin_looks(traces):
    from torch_tb_profiler.consts import WORKER_PATTERN

    runs = {path.parent.name: path.name for path in find_traces(traces)}
    assert set(runs) == {"inference", "training"}
    assert all(WORKER_PATTERN.match(name) for name in runs.values())


def test_nothing_but_traces_is_found(traces, tmp_path):
    shutil.copytree(traces, tmp_path / "copy")
    (tmp_path / "copy" / "notes.json").write_text("{}")
    assert len(find_traces(Path(tmp_path))) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ["a"]}, "event 1: its 'name' is not a text"),
        ({"cat": []}, "event 1: its 'cat' is not a text"),
        ({"dur": -1}, "event 1: its 'dur' is out of range"),
        ({"dur": float("nan")}, "event 1: its 'dur' is out of range"),
        ({"ts": "now"}, "event 1: its 'ts' is not a number"),
        ({"ts": 10**400}, "event 1: its 'ts' is out of range"),
        ({"args": [1]}, "event 1: its 'args' is not a table"),
    ],
)
def test_an_event_that_is_none_is_named(tmp_path, change, words):
    events = [dict(each) for each in GPU_TRACE["traceEvents"]]
    events[1] |= change
    path = tmp_path / "x.pt.trace.json"
    path.write_text(json.dumps({**GPU_TRACE, "traceEvents": events}))
    with pytest.raises(RecordError, match=words):
        read_trace(path, tmp_path)


def test_what_the_parser_logs_is_kept_and_not_printed(tmp_path, capfd):
    events = [dict(each) for each in GPU_TRACE["traceEvents"]]
    events[6] = {**events[6], "args": {**events[6]["args"], "est. achieved occupancy %": -1}}
    path = tmp_path / "x.pt.trace.json"
    path.write_text(json.dumps({**GPU_TRACE, "traceEvents": events}))
    assert any("occupancy" in text for text in read_trace(path, tmp_path).recommendations)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "name", ['a "quoted" name', r"back\slash", "new\nline", os.fsdecode(b"caf\xe9")]
)
def test_a_folder_may_have_any_name(tiny, tmp_path, name):
    folder = tmp_path / name
    trace_case(make_case(tiny), "slice", folder / "run")
    (path,) = find_traces(folder)
    result = read_trace(path, tmp_path)
    assert result.steps == STEPS
    assert Path.cwd() != folder / "run"
    record = TraceRecord.new(command=(), environment=ENVIRONMENT, results=(result,))
    assert printable(name) in json.loads(record.to_json())["results"][0]["run"]
