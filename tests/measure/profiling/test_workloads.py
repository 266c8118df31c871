import dataclasses

import pytest
import torch

from s2mlp_cli.measure.profiling.compiling import compiled_blocks
from s2mlp_cli.measure.profiling.workloads import build_workload, draw_example, matmul_macs
from tests.tiny import case as make_case


def case(spec, level="model", stage=0, **fields):
    return make_case(spec, level, stage, batch_size=2, **fields)


@pytest.mark.parametrize(("level", "stage"), [("op", 1), ("block", 0), ("model", 0)])
def test_a_workload_runs_its_function_on_its_example(tiny, level, stage):
    workload = build_workload(case(tiny, level, stage), "slice")
    with torch.inference_mode():
        assert torch.equal(workload.run(), workload.function(workload.example))
    assert (workload.module is None) == (level == "op")
    assert (workload.weights_bytes > 0) == (level != "op")


@pytest.mark.parametrize(("level", "stage"), [("block", 0), ("model", 0)])
def test_all_implementations_have_the_same_weights_and_inputs(tiny, level, stage):
    with torch.inference_mode():
        one, other = (
            build_workload(case(tiny, level, stage), shift).run() for shift in ("slice", "gather")
        )
    assert torch.equal(one, other)


def test_an_input_that_is_given_changes_nothing_but_what_it_costs(tiny):
    shared = draw_example(case(tiny))
    drawn, given = (build_workload(case(tiny), "slice", example) for example in (None, shared))
    assert given.example is shared
    with torch.inference_mode():
        assert torch.equal(drawn.run(), given.run())


def test_a_large_batch_repeats_its_images(tiny):
    few, many = (draw_example(dataclasses.replace(case(tiny), batch_size=n)) for n in (251, 600))
    assert many.shape == (600, 3, *tiny.input_size)
    assert torch.equal(many[:251], few)
    assert torch.equal(many[502:], few[:98])
    assert few.unique(dim=0).shape == few.shape


def test_a_large_batch_keeps_no_more_memory_than_its_own(tiny):
    many = draw_example(make_case(tiny, batch_size=252))
    assert many.untyped_storage().nbytes() == many.nbytes


def test_a_captured_training_step_keeps_its_counters_where_a_graph_can_count_them(
    tiny, monkeypatch
):
    made = []

    class Optimizer(torch.optim.AdamW):
        def __init__(self, parameters, **options):
            made.append(options["capturable"])
            super().__init__(parameters, lr=options["lr"])

    monkeypatch.setattr(torch.optim, "AdamW", Optimizer)
    for graph in (False, True):
        build_workload(case(tiny, mode="training", cuda_graph=graph), "slice")
    assert made == [False, True]


def modules(*names):
    """Return a model of named sequences of two linear layers each, one of them nested."""
    model = torch.nn.Module()
    for name in names:
        model.add_module(name, torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)))
    return model


def test_a_block_is_a_member_of_a_sequence_of_blocks_or_else_of_any(tiny):
    built = build_workload(case(tiny), "slice").module
    assert [type(block).__name__ for block in compiled_blocks(built)] == ["Block"] * 3
    named = modules("stem", "blocks")
    assert compiled_blocks(named) == list(named.blocks)
    others = modules("layer1", "layer2")
    assert compiled_blocks(others) == [*others.layer1, *others.layer2]
    assert compiled_blocks(torch.nn.Linear(1, 1)) == []


def test_blocks_are_compiled_each_by_itself_and_all_else_at_once(tiny, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, mode: compiled.append((type(self).__name__, mode))
    )
    monkeypatch.setattr(torch, "compile", lambda module, mode: compiled.append("whole") or module)
    build_workload(case(tiny, compile="block", compile_mode="max-autotune"), "slice")
    assert compiled == [("Block", "max-autotune")] * 3
    compiled.clear()
    build_workload(case(tiny, compile="model"), "slice")
    build_workload(case(tiny, "block", compile="block"), "slice")
    assert compiled == ["whole"] * 2


def test_building_leaves_the_random_state_alone(tiny):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_workload(case(tiny), "slice")
    assert torch.equal(torch.rand(1), expected)


def test_a_training_step_of_the_model_moves_its_weights(tiny):
    workload = build_workload(case(tiny, mode="training"), "slice")
    before = workload.module.head.weight.clone()
    workload.run()
    assert not torch.equal(workload.module.head.weight, before)


@pytest.mark.parametrize(("level", "stage"), [("op", 0), ("block", 0)])
def test_training_a_part_is_forward_and_backward(tiny, level, stage):
    workload = build_workload(case(tiny, level, stage, mode="training"), "slice")
    gradient = workload.run()[0]
    assert gradient.shape == workload.example.shape
    assert gradient.abs().sum() > 0


def test_dtype_and_memory_format_reach_the_model(tiny):
    workload = build_workload(case(tiny, dtype="bf16", channels_last=True), "slice")
    assert workload.example.dtype == torch.bfloat16
    assert workload.example.is_contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert workload.run().dtype == torch.bfloat16


def test_a_spec_without_shifts_has_no_directions(tiny):
    unshifted = tiny.model_copy(update={"mixer": tiny.mixer.model_copy(update={"splits": ((),)})})
    assert case(unshifted, "op", 0).directions == ()


def macs(spec, level, stage=0):
    made = case(spec, level, stage)
    return matmul_macs(made, build_workload(made, "slice"))


def test_the_products_of_a_block_are_those_of_its_linear_layers(tiny):
    positions, channels = 2 * 36, 8
    mixer = positions * (3 * channels**2 + channels**2)
    attention = 2 * (channels * 2 + 2 * 3 * channels)
    mlp = positions * 2 * 2 * channels**2
    assert macs(tiny, "block", 0) == mixer + attention + mlp


def test_a_model_has_those_of_its_blocks_and_more_and_a_shift_has_none(tiny):
    blocks = macs(tiny, "block", 0) + 2 * macs(tiny, "block", 1)
    patches = 2 * 36 * 8 * 3 * 16 + 2 * 9 * 16 * 8 * 4
    assert macs(tiny, "model") == blocks + patches + 2 * 16 * 5
    assert macs(tiny, "op", 0) == 0
