import itertools
import math

import pytest
import torch

from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.measure.verifying.cases import (
    ALONE,
    DTYPES,
    EIGHT,
    LARGE,
    LARGE_SPLITS,
    MEMORY_FORMATS,
    REORDERED,
    SHAPES,
    SPLITS,
    CheckInput,
    check_inputs,
    significand_bits,
)
from s2mlp_cli.measure.verifying.checks import deviation
from s2mlp_cli.records.verify import DTYPE_NAMES

CPU = torch.device("cpu")


def test_every_named_dtype_has_its_torch_dtype():
    assert tuple(DTYPES) == DTYPE_NAMES


@pytest.mark.parametrize(("dtype", "bits"), [("fp32", 24), ("fp64", 53), ("bf16", 8), ("fp16", 11)])
def test_significand_bits_count_the_hidden_one(dtype, bits):
    assert significand_bits(DTYPES[dtype]) == bits


@pytest.mark.parametrize("dtype", DTYPES)
def test_four_upstream_gradients_add_up_exactly_in_any_order(dtype):
    given = CheckInput((1, 4, 4, 8), ((),), dtype, "contiguous")
    values = given.odd_integers(8, CPU, torch.Generator().manual_seed(1))
    exact = values.double().flatten().tolist()
    rounded = values.flatten()
    for start in range(0, 124, 4):
        total = sum(int(value) for value in exact[start : start + 4])
        for order in itertools.permutations(range(start, start + 4)):
            partial = torch.zeros((), dtype=DTYPES[dtype])
            for index in order:
                partial = partial + rounded[index]
            assert int(partial.double().item()) == total


@pytest.mark.parametrize("dtype", DTYPES)
def test_upstream_gradients_do_not_survive_one_bit_less(dtype):
    """Odd integers of p-2 bits: a format with p-3 bits has to change every one of them."""
    given = CheckInput((1, 4, 4, 8), ((),), dtype, "contiguous")
    values = given.odd_integers(8, CPU, torch.Generator().manual_seed(1)).double().abs()
    bits = significand_bits(DTYPES[dtype])
    assert (values % 2 == 1).all()
    assert (values >= 2 ** (bits - 3)).all()
    assert (values < 2 ** (bits - 2)).all()


def test_upstream_gradients_of_float32_show_a_rounding_to_tf32():
    given = CheckInput((1, 4, 4, 8), ((),), "fp32", "contiguous")
    values = given.odd_integers(8, CPU, torch.Generator().manual_seed(1))
    tf32 = (values.view(torch.int32) & ~0x1FFF).view(torch.float32)  # 13 of 23 stored bits cut
    assert (tf32 != values).float().mean() > 0.99


@pytest.mark.parametrize("layout", MEMORY_FORMATS)
def test_layouts_hold_the_same_values(layout):
    x = torch.randn(2, 3, 5, 4)
    assert torch.equal(MEMORY_FORMATS[layout](x), x)


def test_layouts_differ_in_memory():
    strides = {name: lay(torch.randn(2, 3, 5, 4)).stride() for name, lay in MEMORY_FORMATS.items()}
    assert strides == {
        "contiguous": (60, 20, 4, 1),
        "channels-first": (60, 5, 1, 15),
        "strided": (240, 80, 16, 2),
    }


def test_every_shape_and_all_splits_meet_every_layout_in_each_dtype():
    for dtype in DTYPES:
        asked = [q for q in check_inputs(dtype) if q.shape in SHAPES]
        assert len(asked) == len(SHAPES) * len(SPLITS)
        assert {(q.shape, q.memory_format) for q in asked} == set(
            itertools.product(SHAPES, MEMORY_FORMATS)
        )
        assert {(q.splits, q.memory_format) for q in asked} == set(
            itertools.product(SPLITS, MEMORY_FORMATS)
        )


def test_three_dtypes_make_the_full_product():
    asked = {
        (q.shape, q.splits, q.memory_format)
        for dtype in ("fp32", "fp64", "bf16")
        for q in check_inputs(dtype)
        if q.shape in SHAPES
    }
    assert asked == set(itertools.product(SHAPES, SPLITS, MEMORY_FORMATS))


def test_shapes_and_splits_have_the_awkward_ones():
    sides = {shape[1:3] for shape in SHAPES}
    assert {(1, 1), (1, 7), (7, 1), (14, 14)} <= sides
    assert {len(split) for splits in SPLITS for split in splits} == {0, 1, 2, 4, 8}
    assert {len(splits) for splits in SPLITS} == {1, 2, 3}


def test_each_direction_is_asked_alone_in_each_dtype():
    for dtype in DTYPES:
        alone = [q.splits for q in check_inputs(dtype) if q.splits in ALONE]
        assert sorted(alone) == sorted(ALONE)
    assert {split for splits in ALONE for split in splits} == {(name,) for name in OFFSETS}


def test_one_map_of_each_dtype_is_larger_than_a_16_bit_index():
    for dtype in DTYPES:
        (large,) = [q for q in check_inputs(dtype) if q.shape == LARGE]
        assert math.prod(large.shape) > 2**16
        assert large.splits == LARGE_SPLITS[dtype]


def test_eight_directions_come_in_two_orders_and_one_of_them_twice():
    eights = {split for splits in SPLITS for split in splits if len(split) == 8}
    assert eights == {EIGHT, REORDERED}
    assert len(set(EIGHT)) == 8
    assert len(set(REORDERED)) == 7


def test_deviation_counts_what_is_beyond_the_tolerance():
    expected = torch.tensor([1.0, 2.0, 4.0])
    found = deviation(torch.tensor([1.0, 2.5, 4.0]), expected)
    assert (found.wrong, found.elements, found.max_error) == (1, 3, 0.125)
    assert deviation(torch.tensor([1.0, 2.5, 4.0]), expected, tolerance=0.125).wrong == 0


def test_deviation_calls_a_nan_wrong_whatever_the_tolerance():
    found = deviation(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 1.0]), tolerance=1e9)
    assert found.wrong == 1
    assert found.max_error is None
