import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixers import ALL, FIRST, SIZES, layouts

from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.shifts.triton_shift import shift_triton
from s2mlp_cli.shifts.triton_support import (
    offset_table,
    power_of_two_block,
    segments,
    unavailable,
)

LISTS = {1: ("left",), 2: ("down", "right"), 4: FIRST, 8: ALL}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", LISTS)
def test_equals_the_oracle_bit_for_bit(size, count, device):
    x = torch.randn(2, *size, count * 5, device=device)
    assert torch.equal(shift_triton(x, LISTS[count]), shift_oracle(x, LISTS[count]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_dtype_is_moved_unchanged(dtype, device):
    x = torch.randn(1, 5, 4, 16, device=device).to(dtype)
    assert torch.equal(shift_triton(x, ALL), shift_oracle(x, ALL))


def test_any_strides(device):
    x = torch.randn(2, 3, 5, 16, device=device)
    for label, laid_out in layouts(x).items():
        assert torch.equal(shift_triton(laid_out, FIRST), shift_oracle(x, FIRST)), label
    batchless = x[:1].expand(3, -1, -1, -1)
    assert torch.equal(shift_triton(batchless, FIRST), shift_oracle(batchless, FIRST))


def test_every_element_is_written(device, monkeypatch):
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: real(*a, **k).fill_(torch.nan))
    for size in SIZES[:4]:
        x = torch.randn(1, *size, 24, device=device, requires_grad=True)
        shifted = shift_triton(x, ALL)
        assert shifted.isfinite().all()
        shifted.sum().backward()
        assert x.grad.isfinite().all()


@given(
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    directions=st.lists(st.sampled_from(sorted(OFFSETS)), max_size=4).map(tuple),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=12, deadline=None)
def test_values_and_gradients_for_any_list(height, width, directions, seed):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    channels = 2 * max(len(directions), 1)
    x = torch.randn(2, height, width, channels, generator=torch.Generator().manual_seed(seed))
    x = x.to(device).double().requires_grad_()
    sent = torch.arange(x.numel(), dtype=x.dtype, device=device).reshape(x.shape)
    shifted, expected = shift_triton(x, directions), shift_oracle(x, directions)
    assert torch.equal(shifted, expected)
    (found,) = torch.autograd.grad(shifted, x, sent)
    (wanted,) = torch.autograd.grad(expected, x, sent)
    assert torch.equal(found, wanted)  # whole numbers: the sums are exact


def test_gradcheck(device):
    x = torch.randn(1, 3, 2, 8, dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: shift_triton(x, ALL), (x,), fast_mode=True)


def test_gradients_of_half_types_are_summed_in_float32(device):
    x = torch.zeros(1, 2, 1, 16, dtype=torch.bfloat16, device=device, requires_grad=True)
    sent = torch.tensor([1.0, 1.0 + 2**-7], dtype=torch.bfloat16, device=device)
    shift_triton(x, ("down",)).backward(sent[None, :, None, None].expand(x.shape))
    assert x.grad[0, 0, 0, 0] == (sent.float().sum()).bfloat16()
    assert x.grad[0, 1].abs().sum() == 0


def test_channels_that_do_not_divide_are_refused(device):
    with pytest.raises(ValueError, match="do not divide"):
        shift_triton(torch.zeros(1, 2, 2, 6, device=device), FIRST)


def test_an_empty_list_copies(device):
    x = torch.randn(1, 2, 2, 6, device=device)
    copied = shift_triton(x, ())
    assert torch.equal(copied, x)
    assert copied.data_ptr() != x.data_ptr()


def test_where_it_can_run(monkeypatch):
    implementation = registry.get("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert implementation.unavailable(torch.device("cuda")) is None
    assert implementation.unavailable(torch.device("cpu")) == (
        "Triton kernels run on cuda, not on cpu; "
        "set TRITON_INTERPRET=1 to run them slowly in its interpreter"
    )
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert implementation.unavailable(torch.device("cpu")) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert unavailable(torch.device("cuda")).startswith("triton is not installed")


def test_splits_of_different_counts_share_segments():
    splits = (("up", "down"), (), ("left", "right", "up"))
    assert segments(splits) == 6
    up, down, left, right = (list(OFFSETS[name]) for name in ("up", "down", "left", "right"))
    assert offset_table(splits, torch.device("cpu")).tolist() == [
        [up] * 3 + [down] * 3,
        [[0, 0]] * 6,
        [left] * 2 + [right] * 2 + [up] * 2,
    ]


@pytest.mark.parametrize(("size", "block"), [(1, 16), (48, 16), (64, 64), (96, 32), (128, 128)])
def test_blocks_waste_as_little_as_they_can(size, block):
    assert power_of_two_block(size, largest=128) == block


def test_second_derivatives_are_refused(device):
    x = torch.randn(1, 2, 2, 8, device=device, requires_grad=True)
    (grad,) = torch.autograd.grad(shift_triton(x, FIRST).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
