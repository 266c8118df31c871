import pytest

from s2mlp_cli.measure.profiling.cases import Request, cases
from s2mlp_cli.specs import ModelSpec


def no_search(case):
    raise AssertionError("nobody asked for the largest batch")


def test_a_model_has_its_stages_at_op_and_block_and_itself(tiny):
    found = list(cases(Request((tiny,), ("conv",)), "cpu", no_search))
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
    switches = {"mode": "training", "compiled": True, "cuda_graph": True} if asked else {}
    found = list(cases(Request((tiny,), (), **switches), "cuda:0", no_search))
    expected = ("training", True, True) if asked else ("inference", False, False)
    assert {(case.mode, case.compiled, case.cuda_graph) for case in found} == {expected}
    assert {case.device for case in found} == {"cuda:0"}


def test_only_the_images_of_a_whole_model_can_lie_channels_last(tiny):
    found = cases(Request((tiny,), (), channels_last=True), "cpu", no_search)
    assert [case.channels_last for case in found] == [False] * 4 + [True]


def test_every_combination_of_dtype_and_batch_is_a_case(tiny):
    request = Request(
        (tiny,), (), levels=("model",), dtypes=("fp32", "bf16"), batch_sizes=(2, None)
    )
    found = list(cases(request, "cuda:0", lambda case: 48))
    assert [(case.dtype, case.batch_size) for case in found] == [
        ("fp32", 2), ("fp32", 48), ("bf16", 2), ("bf16", 48),
    ]  # fmt: skip


def test_the_references_come_first_and_nobody_twice(tiny):
    assert Request((tiny,), ("conv", "slice")).contenders(tiny) == ("slice", "none", "conv")


def test_a_family_without_shifts_has_one_nameless_contender_and_no_parts():
    other = ModelSpec(family="other", name="other")
    request = Request((other,), ("conv",))
    assert request.contenders(other) == (None,)
    assert [case.level for case in cases(request, "cpu", no_search)] == ["model"]
