import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.measure.counting.closed_form import closed_form
from s2mlp_cli.measure.counting.count import count, count_parts
from s2mlp_cli.models import build_model
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import S2MLPSpec, load_spec

TINY = ("input_size=32", "stages=[{patch: 4, dim: 8, depth: 2, expansion: 2}]", "classes=5")


@st.composite
def specs(draw):
    """Draw a small model of any kind that the parts can express."""
    directions = st.lists(st.sampled_from(sorted(OFFSETS)), max_size=4).map(tuple)
    splits = tuple(draw(st.lists(directions, min_size=1, max_size=4)))
    fusion = "none" if len(splits) == 1 else draw(st.sampled_from(["mean", "split-attention"]))
    stages = [
        {
            "patch": draw(st.integers(1, 4)),
            "dim": 12 * draw(st.integers(1, 3)),  # divides by 1, 2, 3 and 4 directions
            "depth": draw(st.integers(1, 2)),
            "expansion": draw(st.integers(1, 4)),
        }
        for _ in range(draw(st.integers(1, 2)))
    ]
    unit = 1
    for stage in stages:
        unit *= stage["patch"]
    return S2MLPSpec.model_validate(
        {
            "name": "random",
            "input_size": [unit * draw(st.integers(1, 4)), unit * draw(st.integers(1, 4))],
            "in_channels": draw(st.integers(1, 4)),
            "classes": draw(st.integers(1, 20)),
            "stages": stages,
            "norm": {
                "kind": draw(st.sampled_from(["layer", "affine"])),
                "place": draw(st.sampled_from(["pre", "post"])),
            },
            "patch_norm": draw(st.booleans()),
            "head_norm": draw(st.booleans()),
            "mixer": {
                "splits": splits,
                "activation": draw(st.sampled_from(["gelu", "none"])),
                "fusion": fusion,
                "reduction": draw(st.sampled_from([1, 2, 3, 4])),
                "attention_bias": draw(st.booleans()),
            },
        }
    )


@settings(max_examples=100)
@given(specs(), st.integers(1, 3))
def test_three_methods_come_to_the_same_number(spec, batch_size):
    result = count(spec, batch_size=batch_size)
    formula = closed_form(spec)
    check = result.crosscheck
    assert check.fvcore == check.closed_form == check.flop_counter
    assert check.agree
    assert result.macs_matmul == formula.macs * batch_size
    head = formula.parts["classifier"]
    assert result.macs_head == head.macs * batch_size
    assert result.params == formula.params
    assert result.params_without_head == formula.params - head.params
    assert result.params_norm == formula.parts["norms"].params
    assert result.uncounted == ()


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("v1-wide", 72_241_384, 13_989_033_984),
        ("v1-deep", 53_917_288, 10_462_682_112),
        ("v2-small", 25_113_448, 6_901_767_168),
        ("v2-medium", 55_269_864, 16_284_307_456),
        ("v2-small-14", 29_891_176, 6_855_613_440),
    ],
)
def test_the_main_variants(name, params, macs):
    result = count(load_spec(name))
    assert (result.params, result.macs_matmul) == (params, macs)
    assert result.crosscheck.agree


def test_parameters_are_those_of_the_built_model():
    spec = load_spec("v2-small", TINY)
    model = build_model(spec)
    assert count(spec).params == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("shift", registry.NAMES)
def test_no_implementation_changes_the_algorithm(shift):
    spec = load_spec("v2-small", TINY)
    reference, result = count(spec), count(spec, shift)
    assert result.macs_matmul == reference.macs_matmul
    assert result.shift == shift
    assert result.macs == result.macs_matmul + result.shift_cost.macs


def test_the_convolution_really_multiplies():
    """Nine multiply-adds for every value of the two shifted splits, in both blocks."""
    cost = count(load_spec("v2-small", TINY), "conv").shift_cost
    assert cost.macs == 2 * 2 * (8 * 8 * 8) * 9


def test_bytes_of_slice_are_a_copy_and_the_moved_slices():
    """v1 shifts right, left, down, up: a clone reads and writes all, each slice all but a line."""
    result = count(load_spec("v1-wide", TINY))
    map_bytes = 8 * 8 * 8 * 4
    moved = 4 * (8 * 7 * 2) * 4
    assert result.shift_cost.bytes_moved == 2 * (2 * map_bytes + 2 * moved)
    assert result.shift_cost.bytes_least == 2 * 2 * map_bytes


def test_everything_but_parameters_grows_with_the_batch():
    one, three = (count(load_spec("v2-small", TINY), batch_size=size) for size in (1, 3))
    assert three.params == one.params
    for figure in ("macs", "macs_matmul", "macs_head", "elementwise", "activations"):
        assert getattr(three, figure) == 3 * getattr(one, figure), figure


def test_modules_and_operators_add_up():
    result = count(load_spec("v2-small"))
    by_name = {row.module: row for row in result.by_module}
    assert by_name[""].macs == result.macs_matmul == sum(row.macs for row in result.by_operator)
    assert by_name[""].params == result.params
    children = [by_name[name] for name in ("stages", "norm", "head")]
    assert sum(row.macs for row in children) == result.macs_matmul
    assert sum(row.params for row in children) == result.params
    block = by_name["stages.1.blocks.13"]
    assert block.macs == 16 * 16 * 384**2 * (3 + 1 + 6) + 96 * 384 * 4


def test_the_parts_that_papers_leave_out():
    parts = count_parts("v2-small").parts
    weights = (2 * 2 * 192) * 384
    assert parts["downsampling"] == (weights + 384, 16 * 16 * weights)
    assert parts["embeddings"] == (0, 0)
    assert count_parts("vit-b16").parts["embeddings"] == (197 * 768 + 768, 0)


def test_activations_are_the_outputs_of_the_products():
    """One block of v1: fc1, fc2, fc3 and fc4 write 1 + 1 + r + 1 values per channel."""
    result = count(load_spec("v1-wide", TINY))
    tokens, dim = 64, 8
    assert result.activations == tokens * dim + 2 * tokens * dim * (1 + 1 + 2 + 1) + 5


def test_counting_allocates_nothing():
    huge = load_spec("v2-small", ("stages.0.dim=16384", "stages.1.dim=32768"))
    assert count(huge).params > 10**11
