import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixers import ALL, FIRST, SPLITS, make_mixer
from torch import nn

from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.shifts.borders import (
    accumulator,
    border_sums,
    fusion_weights,
    shifted_linear_sums,
    shifted_sums,
)
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.shifts.triton_support import offset_table


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    size=st.integers(1, 3),
    splits=st.lists(
        st.lists(st.sampled_from(sorted(OFFSETS)), max_size=4).map(tuple), min_size=1, max_size=4
    ).map(tuple),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_border_sums_give_the_sum_of_the_shifted_linear_map(height, width, size, splits, seed):
    generator = torch.Generator().manual_seed(seed)
    channels = 12 * size  # divides by 1, 2, 3 and 4 directions
    expand = nn.Linear(channels, len(splits) * channels, dtype=torch.float64)
    x = torch.randn(2, height, width, channels, dtype=torch.float64, generator=generator)
    maps = expand(x).chunk(len(splits), -1)
    expected = torch.stack(
        [shift_oracle(m, split).sum((1, 2)) for m, split in zip(maps, splits, strict=True)], 1
    )
    torch.testing.assert_close(shifted_linear_sums(x, expand, splits), expected)
    torch.testing.assert_close(shifted_sums(expand(x), splits), expected)


def test_a_row_that_content_leaves_is_not_counted_and_the_one_it_enters_by_counts_twice():
    x = torch.zeros(1, 3, 2, 1)
    x[0, 0], x[0, 1], x[0, 2] = 1, 10, 100
    assert shifted_sums(x, (("down",),)).item() == 2 * (1 + 1 + 10)
    assert shifted_sums(x, (("up",),)).item() == 2 * (10 + 100 + 100)
    assert shifted_sums(x, (("right",),)).item() == 2 * 111


def test_corners_are_left_out_where_no_direction_needs_them():
    x = torch.randn(2, 3, 4, 8)
    assert border_sums(x, corners=False).shape == (2, 3, 8)
    torch.testing.assert_close(border_sums(x, corners=True)[:, :3], border_sums(x, corners=False))


def test_a_layer_without_bias():
    expand = nn.Linear(8, 16, bias=False, dtype=torch.float64)
    x = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(
        shifted_linear_sums(x, expand, (FIRST, ALL)), shifted_sums(expand(x), (FIRST, ALL))
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_sums_are_kept_wide(dtype):
    assert accumulator(dtype) == (torch.float64 if dtype == torch.float64 else torch.float32)
    # 4096 ones do not fit in a half type's mantissa: 256 + 1 == 256 in bfloat16.
    ones = torch.ones(1, 64, 64, 4, dtype=dtype)
    assert shifted_sums(ones, (FIRST,)).flatten().tolist() == [4096.0] * 4


@pytest.mark.parametrize("splits", SPLITS.values(), ids=SPLITS)
def test_weights_sum_to_one_and_do_not_depend_on_the_batch(splits):
    mixer = make_mixer(16, splits)
    x = torch.randn(5, 4, 6, 16)
    with torch.no_grad():
        weights = fusion_weights(x, mixer)
        torch.testing.assert_close(weights.sum(1), torch.ones(5, 16))
        for image in range(5):
            alone = fusion_weights(x[image : image + 1], mixer)[0]
            torch.testing.assert_close(alone, weights[image], rtol=1e-6, atol=1e-7)


def test_the_mean_weighs_all_splits_alike():
    mixer = make_mixer(8, (FIRST, ALL), fusion="mean")
    assert fusion_weights(torch.ones(2, 3, 3, 8), mixer).tolist() == [[[0.5], [0.5]]]


def test_a_compiler_makes_constants_of_the_tables_and_copies_none_to_the_device():
    """A table that is filled in on the CPU would be copied, blocking, in every forward pass."""
    seen = []

    def backend(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    mixer, x = make_mixer(16, (FIRST, ALL, ())), torch.randn(2, 3, 4, 16)
    torch._dynamo.reset()
    torch.compile(lambda: fusion_weights(x, mixer), fullgraph=True, backend=backend)()
    torch.compile(
        lambda: offset_table((FIRST, ()), x.device) + 0, fullgraph=True, backend=backend
    )()
    assert seen
    assert not [name for name in seen if "setitem" in name or "zeros" in name or "copy" in name]
