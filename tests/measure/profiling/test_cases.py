import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.cases import (
    candidates,
    cases,
    companions,
    find_largest_batch,
    fits,
)
from s2mlp_cli.measure.profiling.rows import blank_row
from s2mlp_cli.measure.profiling.workloads import Candidate, build_workload, draw_example
from s2mlp_cli.measure.source import module_model, spec_model
from s2mlp_cli.records.base import LARGEST_BATCH
from s2mlp_cli.records.profile import ProfileRequest
from s2mlp_cli.specs import ModelSpec
from tests.tiny import case as make_case


def no_search(case):
    raise AssertionError("nobody asked for the largest batch")


def found_for(*specs, search=no_search, **fields):
    request = ProfileRequest(models=tuple(spec.name for spec in specs), **fields)
    return list(cases(tuple(map(spec_model, specs)), request, search))


def test_a_model_has_its_stages_at_op_and_block_and_itself(tiny):
    found = found_for(tiny)
    assert [(case.level, case.stage, case.shape) for case in found] == [
        ("op", 0, (1, 6, 6, 8)),
        ("op", 1, (1, 3, 3, 16)),
        ("block", 0, (1, 6, 6, 8)),
        ("block", 1, (1, 3, 3, 16)),
        ("model", None, (1, 3, 24, 24)),
    ]
    assert found[0].directions == ("down", "up", "right", "left")


@pytest.mark.parametrize("asked", [True, False])
def test_every_case_runs_as_it_was_asked(tiny, asked):
    switches = {"mode": "training", "compile": "model", "cuda_graph": True} if asked else {}
    found = found_for(tiny, device="cuda:0", **switches)
    expected = ("training", "model", True) if asked else ("inference", None, False)
    assert {(case.mode, case.compile, case.cuda_graph) for case in found} == {expected}
    assert {case.device for case in found} == {"cuda:0"}


def test_only_the_images_of_a_whole_model_can_lie_channels_last(tiny):
    found = found_for(tiny, channels_last=True)
    assert [case.channels_last for case in found] == [False] * 4 + [True]


def test_every_combination_of_dtype_and_batch_is_a_case(tiny):
    found = found_for(
        tiny, levels=("model",), dtypes=("fp32", "bf16"), batch_sizes=(2, None),
        search=lambda case: 48,
    )  # fmt: skip
    assert [(case.dtype, case.batch_size) for case in found] == [
        ("fp32", 2), ("fp32", 48), ("bf16", 2), ("bf16", 48),
    ]  # fmt: skip


def test_a_model_without_blocks_is_compiled_at_once_and_its_row_says_so(tiny):
    one, several = (
        module_model(torch.nn.Sequential(*layers), (8, 8))
        for layers in ([torch.nn.Flatten()], [torch.nn.Sequential(torch.nn.Flatten())])
    )
    asked = ProfileRequest(models=(), levels=("model",), compile="block")
    for model, expected in ((one, "model"), (several, "block"), (spec_model(tiny), "block")):
        (case,) = cases((model,), asked, no_search)
        assert (case.compile, blank_row(case, Candidate(None), 1).compile) == (expected, expected)


def asked(model, **fields):
    return [
        str(each) for each in candidates(spec_model(model), ProfileRequest(models=(), **fields))
    ]


def test_each_implementation_is_a_candidate_in_each_runtime_and_precision(tiny):
    runtimes = {"runtimes": ("torch", "openvino"), "precisions": ("fp32", "int8")}
    both = {"runtimes": ("onnxruntime", "openvino"), "precisions": ("auto", "fp32")}
    assert asked(tiny, shifts=("conv",), **both) == [
        "conv (openvino, auto)", "conv (onnxruntime)", "conv (openvino)",
    ]  # fmt: skip
    assert asked(tiny, shifts=("conv", "roll"), **runtimes) == [
        "conv", "roll", "conv (openvino)", "roll (openvino)",
        "conv (openvino, int8)", "roll (openvino, int8)",
    ]  # fmt: skip
    assert asked(tiny, shifts=("conv",), runtimes=("openvino",)) == ["conv (openvino)"]
    assert companions(spec_model(tiny)) == (Candidate("slice"), Candidate("none"))


def test_a_family_without_shifts_has_one_nameless_contender_and_no_parts():
    other = ModelSpec(family="other", name="other")
    assert companions(spec_model(other)) == (Candidate(None),)
    assert asked(other, shifts=("conv",)) == ["the model"]
    assert asked(other, runtimes=("torch", "openvino")) == ["the model", "the model (openvino)"]
    assert [case.level for case in found_for(other)] == ["model"]


@given(st.integers(1, LARGEST_BATCH))
def test_the_largest_batch_fits_and_leaves_less_than_an_eighth(limit):
    found = find_largest_batch(lambda batch: batch <= limit)
    assert found <= limit
    assert limit - found <= found / 8


def test_no_larger_batch_is_tried_than_a_command_takes():
    assert LARGEST_BATCH * 7 / 8 < find_largest_batch(lambda batch: True) <= LARGEST_BATCH


def test_no_batch_at_all_is_a_sentence():
    with pytest.raises(UnavailableError, match="not even a batch of 1 fits"):
        find_largest_batch(lambda batch: False)


def test_a_cpu_is_not_searched_because_it_would_be_killed(tiny):
    with pytest.raises(UnavailableError, match="--batch-size max needs a CUDA device"):
        fits(make_case(tiny), 2)


@pytest.mark.parametrize(("error", "answer"), [(None, True), (MemoryError("no"), False)])
def test_what_is_timed_and_what_it_is_checked_with_have_to_fit(tiny, monkeypatch, error, answer):
    built = []

    def build(case, shift, example):
        built.append((case.batch_size, shift, case.compile, example))
        if error and shift == "slice":
            raise error
        return type("Workload", (), {"run": staticmethod(lambda: None)})

    monkeypatch.setattr("s2mlp_cli.measure.profiling.cases.build_workload", build)
    monkeypatch.setattr("s2mlp_cli.measure.profiling.cases.draw_example", lambda case: "images")
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    assert fits(make_case(tiny, device="cuda:0"), 8) == answer
    assert built == [(8, "oracle", None, "images"), (8, "slice", None, "images")]


def test_a_compiled_batch_is_tried_as_it_is_timed_each_size_for_itself(tiny, monkeypatch):
    compiled = []

    def compile(module, mode):
        def backend(graph, inputs):
            compiled.append([tuple(x.shape) for x in inputs if isinstance(x, torch.Tensor)][-1])
            return graph.forward

        return real(module, backend=backend)

    real = torch.compile
    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    drawn = draw_example
    monkeypatch.setattr(
        "s2mlp_cli.measure.profiling.cases.draw_example",
        lambda case: drawn(dataclasses.replace(case, device="cpu")),
    )
    built = build_workload
    monkeypatch.setattr(
        "s2mlp_cli.measure.profiling.cases.build_workload",
        lambda case, shift, example: built(dataclasses.replace(case, device="cpu"), shift, example),
    )
    case = make_case(tiny, device="cuda:0", compile="model")
    assert all(fits(case, batch) for batch in (1, 2, 4))
    assert all(isinstance(size, int) for shape in compiled for size in shape)  # none is dynamic
    assert len(compiled) == 3
