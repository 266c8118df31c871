"""Implementations in onnxruntime and openvino: exported, checked, and timed beside eager PyTorch."""

import dataclasses
import importlib.metadata
import json
import tempfile
from contextlib import closing

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from s2mlp_cli.commands.profile import command
from s2mlp_cli.compare.quantities import quantities
from s2mlp_cli.measure import proving
from s2mlp_cli.measure.profiling import deployed
from s2mlp_cli.measure.profiling.contenders import Preparation, unsupported
from s2mlp_cli.measure.profiling.resident import Resident
from s2mlp_cli.measure.profiling.rows import blank_row
from s2mlp_cli.measure.profiling.workloads import Candidate, ModelCase
from s2mlp_cli.measure.source import module_model, open_model
from s2mlp_cli.records.profile import ProfileRecord
from s2mlp_cli.records.profile_rows import precision
from s2mlp_cli.runtimes import packages
from s2mlp_cli.runtimes.export import export_onnx
from s2mlp_cli.views import profile as profile_view
from tests.measure.fakes import Clock, FakeDevice
from tests.measure.profiling.test_profile import profiler, small_roofline  # noqa: F401
from tests.tiny import case as make_case

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

EVERYWHERE = {
    "runtimes": ("torch", "onnxruntime", "openvino"),
    "precisions": ("fp32", "auto", "int8"),
}


def prepare(case, candidate):
    with closing(deployed.DeployedFiles(case.model)) as files:
        preparation = Preparation(case, FakeDevice(Clock()), files)
        return preparation.prepare(candidate, blank_row(case, candidate, 1))


@pytest.fixture(scope="module")
def one_block():
    from tests.tiny import TINY

    return TINY.model_copy(update={"name": "one-block", "stages": TINY.stages[:1]})


@pytest.fixture
def record(one_block, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(deployed, "file_memory", lambda *asked: Resident(4000, 60))
    found = profiler(one_block, levels=("model",), batch_sizes=(3,), **EVERYWHERE).run()
    assert list(tmp_path.glob("s2mlp-*")) == []
    return found


def test_each_runtime_takes_part_in_the_rounds_and_the_record_says_what_it_computed_in(
    record, one_block
):
    rows = {(row.shift, row.runtime, row.dtype): row for row in record.results}
    assert list(rows) == [
        ("slice", "torch", "fp32"), ("none", "torch", "fp32"), ("conv", "torch", "fp32"),
        ("conv", "onnxruntime", "fp32"), ("conv", "openvino", "fp32"),
        ("conv", "openvino", "auto"),
        ("conv", "onnxruntime", "int8"), ("conv", "openvino", "int8"),
    ]  # fmt: skip
    for (_, runtime, dtype), row in list(rows.items())[3:]:
        assert len(row.samples_s) == len(record.results[0].samples_s) == 18
        assert row.ratio_to_slice.value == pytest.approx(1)
        assert row.cost_over_none_s is None
        # openvino has no product of activations that are quantised at run time.
        computed = "fp32" if (runtime, dtype) == ("openvino", "int8") else dtype
        assert row.runtime_precision == computed or dtype == "auto"
        assert row.runtime_version.startswith(importlib.metadata.version(runtime)[:6])
        assert (row.memory.peak_rss_bytes, row.memory.activations_bytes) == (4000, 60)
        assert 0 < row.error < (1e-5 if dtype == "fp32" else 0.1)
        assert row.matmul_fraction is None or dtype == "fp32"
    assert rows["conv", "openvino", "auto"].runtime_precision in ("fp32", "bf16", "fp16")
    assert rows["conv", "onnxruntime", "int8"].error > 1e-4
    saved = ProfileRecord.model_validate_json(record.to_json())
    again = profiler(one_block, previous=saved, levels=("model",), batch_sizes=(3,), **EVERYWHERE)
    assert again.run() == saved


def test_headlines_and_comparisons_name_the_runtime_and_compare_with_eager_slice(record):
    words = " ".join(profile_view.view(record).answers)
    assert "conv (onnxruntime)" in words
    assert "conv (openvino)" in words
    assert precision(record.results[-1]) == "int8 (in fp32)"
    remarks = " ".join(profile_view.view(record).remarks)
    assert "fp32 (files of int8)" in remarks
    relative = {each.name: each.relative for each in quantities(record) if each.unit == "s"}
    assert relative["conv (onnxruntime) time"].reference == "slice"
    assert relative["conv (onnxruntime) time"].speed == pytest.approx(1)


def test_slice_in_a_runtime_is_no_baseline(one_block):
    found = profiler(
        one_block, shifts=("slice", "none"), levels=("model",), runtimes=("onnxruntime",)
    ).run()
    own, bare = (row for row in found.results if row.runtime == "onnxruntime")
    assert [row.is_baseline for row in found.results] == [True, False, False, False]
    assert own.ratio_to_slice is not None
    assert own.shift_share.value == pytest.approx(0)  # what none takes in the same runtime
    assert (bare.error, bare.reference) == (None, found.results[1].reference)


def test_a_file_that_computes_something_else_is_never_timed(one_block, monkeypatch):
    copy = proving.Reference.copy
    monkeypatch.setattr(proving.Reference, "copy", lambda self, shift: copy(self, "none"))
    made = prepare(make_case(one_block, batch_size=2), Candidate("conv", "onnxruntime"))
    assert made.error > 1e-3
    assert made.skipped.startswith("the exported file is wrong: it is off eager float32 by ")
    assert made.skipped.endswith("1e-04 is allowed) on 2 random images")


def test_one_file_serves_all_batch_sizes_and_runtimes_of_a_model(one_block, monkeypatch):
    exported = []
    export = deployed.export_onnx
    monkeypatch.setattr(deployed, "export_onnx", lambda *given: exported.append(export(*given)))
    monkeypatch.setattr(deployed, "file_memory", lambda *asked: "not asked")
    profiler(one_block, levels=("model",), batch_sizes=(1, 3), **EVERYWHERE).run()
    assert len(exported) == 1


def test_a_runtime_that_computes_in_another_precision_is_not_timed(one_block, monkeypatch):
    opened = deployed.open_session

    def in_bf16(*arguments):
        return dataclasses.replace(opened(*arguments), precision="bf16")

    monkeypatch.setattr(deployed, "open_session", in_bf16)
    made = prepare(make_case(one_block), Candidate("conv", "openvino"))
    assert made.skipped == "openvino computes in bf16 instead of fp32"


def test_what_a_runtime_refuses_names_the_operator_and_no_temporary_file(one_block):
    pytest.importorskip("torchvision")
    made = prepare(make_case(one_block), Candidate("deform", "openvino"))
    assert made.skipped == (
        "openvino cannot run .onnx file: No conversion rule found for operations: DeformConv-20"
    )


def test_a_package_that_is_missing_skips_the_row_and_names_the_command(one_block, monkeypatch):
    there = packages._there
    monkeypatch.setattr(packages, "_there", lambda name: name != "openvino" and there(name))
    sentence = "openvino is not installed; run: pip install onnx onnxscript onnxruntime openvino"
    assert unsupported(make_case(one_block), Candidate("conv", "openvino")) == sentence
    assert unsupported(make_case(one_block), Candidate("conv", "onnxruntime")) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"level": "block"}, "only whole models"),
        ({"mode": "training"}, "for inference"),
        ({"device": "cuda:0"}, "openvino runs on the CPU here"),
        ({"dtype": "bf16"}, "leave out --dtype bf16"),
        ({"compile": "block"}, "leave out --compile"),
        ({"channels_last": True}, "leave out --compile and --channels-last"),
    ],
)
def test_where_no_exported_file_takes_part_the_row_says_so(one_block, fields, words):
    assert words in unsupported(make_case(one_block, **fields), Candidate("conv", "openvino"))


class Zero(nn.Module):
    """As a model with a fresh head: whatever computes it agrees."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 8 * 8, 5)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images):
        return self.head(images.flatten(1))


def test_a_file_that_agrees_with_a_constant_is_not_timed():
    case = ModelCase(model=module_model(Zero(), (8, 8)))
    made = prepare(case, Candidate(None, "onnxruntime"))
    assert "nearly the same logits for every image, so that agreement proves" in made.skipped


def test_a_provider_of_a_gpu_needs_one(one_block):
    case = make_case(one_block)
    for runtime in ("onnxruntime-cuda", "onnxruntime-tensorrt"):
        assert unsupported(case, Candidate("conv", runtime)) == (
            f"{runtime} runs on a GPU: use --device cuda"
        )
    on_a_gpu = make_case(one_block, device="cuda:0")
    reason = unsupported(on_a_gpu, Candidate("conv", "onnxruntime-tensorrt"))
    assert reason.startswith("onnxruntime here has no TensorrtExecutionProvider; it has ")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5)).eval()
    export_onnx(module, (3, 8, 8), path, batch_size=4)
    return path


def test_an_exported_file_is_one_contender_in_each_runtime_at_the_batch_that_it_takes(file):
    done = CliRunner().invoke(
        command,
        [
            "--ckpt", str(file), "--runtime", "onnxruntime,openvino", "--batch-size", "4,8",
            "--threads", "1", "--min-time", "0", "--max-time", "0.02", "--format", "json",
        ],
    )  # fmt: skip
    rows = json.loads(done.stdout)["results"]
    assert [(row["runtime"], row["batch_size"], row["level"]) for row in rows] == [
        ("onnxruntime", 4, "model"), ("openvino", 4, "model"),
        ("onnxruntime", 8, "model"), ("openvino", 8, "model"),
    ]  # fmt: skip
    assert all(row["median_s"] and row["ratio_to_slice"] is None for row in rows[:2])
    assert {row["skipped"] for row in rows[2:]} == {
        "the file takes 4 images at a time: use --batch-size 4"
    }
    assert {row["source"]["kind"] for row in rows} == {"exported"}


def test_an_onnx_file_runs_in_onnxruntime_where_no_runtime_is_named(file):
    (row,) = _only(open_model(str(file)))
    assert (row.runtime, row.dtype, row.error) == ("onnxruntime", "fp32", None)


def _only(model):
    from s2mlp_cli.measure.profiling.profiler import Profiler
    from s2mlp_cli.records.profile import ProfileRequest
    from tests.measure.profiling.test_profile import ENVIRONMENT, SETTINGS

    request = ProfileRequest(models=(model.name,), batch_sizes=(4,))
    device = FakeDevice(Clock())
    made = Profiler((model,), request, SETTINGS, device, ENVIRONMENT, clock=device.clock)
    return made.run().results
