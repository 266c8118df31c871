import dataclasses

import pytest
import torch

from s2mlp_cli.measure.profiling.workloads import Case, build_workload, draw_example


def case(spec, level="model", stage=None, **fields):
    return Case(spec, level, stage, "cpu", fields.pop("dtype", "fp32"), 2, **fields)


@pytest.mark.parametrize(("level", "stage"), [("op", 1), ("block", 0), ("model", None)])
def test_a_workload_runs_its_function_on_its_example(tiny, level, stage):
    workload = build_workload(case(tiny, level, stage), "slice")
    with torch.inference_mode():
        assert torch.equal(workload.run(), workload.function(workload.example))
    assert (workload.module is None) == (level == "op")
    assert (workload.weights_bytes > 0) == (level != "op")


@pytest.mark.parametrize(("level", "stage"), [("block", 0), ("model", None)])
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
