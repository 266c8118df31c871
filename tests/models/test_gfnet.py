"""GFNet: its filter against the convolution that it stands for, its interpolation, its blocks."""

import pytest
import torch
from torch import nn

from s2mlp_cli.models import build_model
from s2mlp_cli.models.gfnet import FilterBlock, GlobalFilter, PositionEmbedding, resample
from s2mlp_cli.specs import load_spec

TINY = (
    "input_size=32",
    "native_size=32",
    "classes=5",
    "stages=[{patch: 4, dim: 8, depth: 1, expansion: 2}, {patch: 2, dim: 12, depth: 2, "
    "expansion: 2}]",
)


def circular_convolution(x, kernel):
    """``out[h, w] = sum of kernel[i, j] * x[h - i, w - j]``, wrapped around: by its definition."""
    height, width = x.shape[1:3]
    out = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            out += kernel[i, j] * x.roll((i, j), dims=(1, 2))
    return out


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (3, 6), (1, 1), (7, 7)])
def test_the_filter_is_a_circular_convolution_as_large_as_the_map(size):
    torch.manual_seed(0)
    height, width = size
    mixer = GlobalFilter(6, size).double()
    with torch.no_grad():  # a real kernel has a spectrum with symmetries: take one of those
        kernel = torch.randn(height, width, 6, dtype=torch.float64)
        spectrum = torch.fft.rfft2(kernel, dim=(0, 1))
        mixer.weight.copy_(torch.view_as_real(spectrum))
    x = torch.randn(2, height, width, 6, dtype=torch.float64)
    expected = circular_convolution(x, kernel)
    torch.testing.assert_close(mixer(x), expected, rtol=1e-5, atol=1e-5)  # it works in float32


def test_the_filter_keeps_the_type_of_its_input():
    mixer = GlobalFilter(4, (4, 4))
    x = torch.randn(1, 4, 4, 4)
    assert mixer(x.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(mixer(x.bfloat16()).float(), mixer(x), rtol=0.05, atol=0.02)


def test_gradients_reach_both_parts_of_the_weight():
    mixer = GlobalFilter(4, (4, 6))
    mixer(torch.randn(2, 4, 6, 4)).square().sum().backward()
    assert mixer.weight.grad is not None
    assert (mixer.weight.grad.abs().sum(dim=(0, 1, 2)) > 0).all()


def test_at_another_size_the_weight_is_interpolated_corner_on_corner():
    mixer = GlobalFilter(2, (8, 8))
    weight = mixer.weight.detach()
    resized = mixer._weight((14, 8)).detach()
    assert resized.shape == (14, 8, 2)
    for corner, source in (((0, 0), (0, 0)), ((0, -1), (0, -1)), ((-1, 0), (-1, 0))):
        torch.testing.assert_close(
            resized[corner], torch.view_as_complex(weight[source].contiguous())
        )
    constant = GlobalFilter(2, (8, 8))
    nn.init.ones_(constant.weight)
    torch.testing.assert_close(torch.view_as_real(constant._weight((6, 4))), torch.ones(6, 4, 2, 2))


def test_at_its_own_size_nothing_is_interpolated():
    grid = torch.randn(4, 5, 3)
    assert resample(grid, (4, 5)) is grid
    assert resample(grid, (8, 10)).shape == (8, 10, 3)


def test_positions_are_added():
    position = PositionEmbedding(3, (4, 4))
    x = torch.randn(2, 4, 4, 3)
    assert torch.equal(position(x), x + position.weight)
    assert position(torch.zeros(1, 6, 2, 3)).shape == (1, 6, 2, 3)


@pytest.mark.parametrize("name", ["gfnet-s", "gfnet-h-s"])
def test_a_block_has_one_residual(name):
    spec = load_spec(name, TINY)
    block = FilterBlock(spec, spec.stages[0], (8, 8))
    x = torch.randn(2, 8, 8, 8)
    branch = block.mlp(block.norm2(block.mixer(block.norm1(x))))
    if name == "gfnet-h-s":
        assert torch.equal(block.scale.weight, torch.full((8,), 1e-3))
        branch = branch * block.scale.weight
    assert torch.equal(block(x), x + branch)


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (16, 48)])
def test_any_size_that_the_patches_divide_will_do(size):
    model = build_model(load_spec("gfnet-h-s", TINY))
    model(torch.randn(2, 3, *size)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
