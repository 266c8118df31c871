import pytest
import torch
from mixers import (
    ALL,
    FIRST,
    SIZES,
    SPLITS,
    V2,
    layouts,
    make_mixer,
    mix_by_definition,
    relative_error,
)
from mixers import weights_of as parameters_of
from torch import nn

from s2mlp_cli.shifts.borders import border_sums
from s2mlp_cli.shifts.fused_triton import (
    ShiftedGELU,
    WeightedShiftSum,
    mix_fused_triton,
    triton_border_sums,
)
from s2mlp_cli.shifts.torch_shifts import shift_oracle


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corners", [False, True])
def test_border_sums(size, corners, device):
    x = torch.randn(2, *size, 21, device=device)
    for laid_out in layouts(x).values():
        found = triton_border_sums(laid_out, corners)
        torch.testing.assert_close(found, border_sums(x, corners), rtol=1e-5, atol=1e-4)


def by_definition(y, weights, start, splits):
    """The weighted sum in float64, by the reference implementation."""
    parts = y.double().chunk(len(splits), -1)
    maps = [shift_oracle(part, split) for part, split in zip(parts, splits, strict=True)]
    scaled = [weights.double()[:, k, None, None] * m for k, m in enumerate(maps)]
    return start.double()[:, None, None] + sum(scaled)


@pytest.mark.parametrize("size", [*SIZES[:3], (9, 8)])  # two tiles of 64 positions; more is slow
@pytest.mark.parametrize("name", ["v2", "mixed counts", "diagonals"])
def test_gradients_of_the_weighted_sum_equal_those_of_float64(size, name, device):
    splits = SPLITS[name]
    batch = 1 if size == (9, 8) else 2
    y = torch.randn(batch, *size, len(splits) * 24, device=device)
    weights = torch.rand(batch, len(splits), 24, device=device)
    start = torch.rand(batch, 24, device=device)
    inputs = [each.requires_grad_() for each in (y, weights, start)]
    upstream = torch.randn(batch, *size, 24, device=device)
    found = torch.autograd.grad(WeightedShiftSum.apply(*inputs, splits), inputs, upstream)
    exact = by_definition(*inputs, splits)
    expected = torch.autograd.grad(exact, inputs, upstream.double())
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert relative_error(one, other) < 1e-6


@pytest.mark.parametrize("directions", [(), FIRST, ALL], ids=len)
def test_gradients_of_the_shifted_gelu_equal_those_of_float64(directions, device):
    y = torch.randn(2, 3, 2, 24, device=device, requires_grad=True)
    upstream = torch.randn(2, 3, 2, 24, device=device)
    (found,) = torch.autograd.grad(ShiftedGELU.apply(y, directions), y, upstream)
    exact = shift_oracle(nn.functional.gelu(y.double()), directions)
    (expected,) = torch.autograd.grad(exact, y, upstream.double())
    assert relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("case", ["v2", "diagonals", "gelu"])
def test_gradients_of_the_whole_mixer_equal_those_of_the_definition(case, device):
    kind = ((ALL,), "none", nn.GELU()) if case == "gelu" else (SPLITS[case],)
    mixer = make_mixer(8, *kind, device=device)
    x = torch.randn(2, 3, 2, 8, device=device, requires_grad=True)
    inputs = [x, *parameters_of(mixer)]
    expected = torch.autograd.grad(mix_by_definition(x, mixer).square().sum(), inputs)
    found = torch.autograd.grad(mix_fused_triton(x, mixer).square().sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_half_gradients_are_summed_in_float32(device):
    y = torch.randn(1, 7, 5, 96, device=device).bfloat16().requires_grad_()
    weights = torch.rand(1, 3, 32, device=device, requires_grad=True)
    start = torch.rand(1, 32, device=device)
    upstream = torch.randn(1, 7, 5, 32, device=device).bfloat16()
    found = torch.autograd.grad(
        WeightedShiftSum.apply(y, weights, start, V2), (y, weights), upstream
    )
    expected = torch.autograd.grad(
        by_definition(y, weights, start, V2), (y, weights), upstream.double()
    )
    assert [each.dtype for each in found] == [torch.bfloat16, torch.float32]
    assert relative_error(found[0], expected[0]) < 8e-3
    assert relative_error(found[1], expected[1]) < 1e-6


def test_second_derivatives_are_refused(device):
    y = torch.randn(1, 2, 2, 16, device=device, requires_grad=True)
    weights, start = torch.rand(1, 2, 8, device=device), torch.rand(1, 8, device=device)
    for out in (
        WeightedShiftSum.apply(y, weights, start, (FIRST, ())),
        ShiftedGELU.apply(y, FIRST),
    ):
        (grad,) = torch.autograd.grad(out.square().sum(), y, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            grad.sum().backward()


def test_an_image_does_not_depend_on_its_batch(device):
    mixer = make_mixer(16, V2, device=device)
    y = torch.randn(3, 6, 5, 48, device=device)
    weights, start = torch.rand(3, 3, 16, device=device), torch.rand(3, 16, device=device)
    together = WeightedShiftSum.apply(y, weights, start, mixer.splits)
    sums = triton_border_sums(y, True)
    for image in range(3):
        one = slice(image, image + 1)
        alone = WeightedShiftSum.apply(y[one], weights[one], start[one], mixer.splits)
        assert torch.equal(alone, together[one])
        assert torch.equal(triton_border_sums(y[one], True), sums[one])
