"""The rules with arithmetic of their own: attention, einsum, transforms, pooling."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d

from s2mlp_cli.measure.counting.counters import flop_counter_macs, traced_figures
from s2mlp_cli.measure.counting.meta_kernels import meta_kernels


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *tensors):
        return self.function(*tensors)


def figures(function, *shapes):
    tensors = tuple(torch.empty(shape, device="meta") for shape in shapes)
    with meta_kernels():
        found = traced_figures(Function(lambda x: function(x, *tensors[1:])), tensors[0])
    assert found.unknown == {}
    return found


ATTENTION = {
    "self": ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
    "fewer keys than queries": ((2, 3, 5, 4), (2, 3, 2, 4), (2, 3, 2, 4)),
    "wider values": ((1, 2, 5, 4), (1, 2, 7, 4), (1, 2, 7, 6)),
    "blocks of images": ((2, 3, 6, 5, 4), (2, 3, 6, 5, 4), (2, 3, 6, 5, 4)),
}


@pytest.mark.parametrize(("q", "k", "v"), ATTENTION.values(), ids=ATTENTION)
def test_fused_attention_counts_like_its_parts(q, k, v):
    fused = figures(F.scaled_dot_product_attention, q, k, v)
    parts = figures(lambda x, y, z: ((x * 0.5) @ y.transpose(-2, -1)).softmax(-1) @ z, q, k, v)
    for figure in ("macs", "elementwise", "activations"):
        assert fused.total(figure) == parts.total(figure), figure


def test_fused_attention_agrees_with_torchs_counter():
    attention = Function(lambda x: F.scaled_dot_product_attention(x, x, x))
    x = torch.empty(2, 3, 5, 4, device="meta")
    with meta_kernels():
        assert flop_counter_macs(attention, x) == 2 * (2 * 3) * 5 * 5 * 4


EINSUM = {
    "matrix product": ("ij,jk->ik", ((3, 4), (4, 5)), 3 * 4 * 5),
    "batched, with spaces": ("b i j, b k j -> b i k", ((2, 3, 4), (2, 5, 4)), 2 * 3 * 4 * 5),
    "outer product": ("i,j->ij", ((3,), (4,)), 12),
    "ellipsis": ("...ij,jk->...ik", ((6, 2, 3, 4), (4, 5)), 6 * 2 * 3 * 4 * 5),
    "two ellipses": ("...i,...i->...", ((6, 2, 3), (2, 3)), 6 * 2 * 3),
    "no arrow": ("ij,jk", ((3, 4), (4, 5)), 3 * 4 * 5),
    "axes of one": ("bij,bjk->bik", ((1, 3, 1), (1, 1, 5)), 3 * 5),
    "broadcast": ("bi,bi->b", ((1, 4), (3, 4)), 12),
}


@pytest.mark.parametrize(("equation", "shapes", "macs"), EINSUM.values(), ids=EINSUM)
def test_einsum_of_two(equation, shapes, macs):
    found = figures(lambda x, y: torch.einsum(equation, x, y), *shapes)
    assert found.total("macs") == macs


SEVERAL = {
    "left to right": ("bchw,co,od->bdhw", ((1, 3, 8, 8), (3, 4), (4, 5)), 64 * (3 * 4 + 4 * 5)),
    "an index that is summed before": ("ij,jk->k", ((3, 4), (4, 5)), 4 * 5),
    "a product of three": ("i,i,i->i", ((6,), (6,), (6,)), 12),
    "an outer index last": ("ab,bc,d->acd", ((2, 3), (3, 4), (5,)), 24 + 2 * 4 * 5),
}


@pytest.mark.parametrize(("equation", "shapes", "macs"), SEVERAL.values(), ids=SEVERAL)
def test_einsum_contracts_like_torch(monkeypatch, equation, shapes, macs):
    monkeypatch.setattr(torch.backends.opt_einsum, "enabled", False)
    others = [torch.empty(shape, device="meta") for shape in shapes[1:]]
    net = Function(lambda x: torch.einsum(equation, x, *others))
    with meta_kernels():
        counted = traced_figures(net, torch.empty(shapes[0], device="meta"))
    assert counted.total("macs") == macs


def test_einsum_of_one_multiplies_nothing():
    assert figures(lambda x: torch.einsum("ij->ji", x), (3, 4)).total("macs") == 0


@pytest.mark.parametrize("size", [(8, 8), (14, 14), (7, 9), (1, 16)])
def test_a_real_transform_is_half_of_five_n_log_n_both_ways(size):
    height, width = size
    expected = 3 * 2 * round(2.5 * height * width * math.log2(height * width))

    def there(x):
        return torch.fft.rfft2(x, dim=(1, 2))

    def back(x):
        return torch.fft.irfft2(torch.view_as_complex(x), s=size, dim=(1, 2))

    forward = figures(there, (3, height, width, 2))
    backward = figures(back, (3, height, width // 2 + 1, 2, 2))
    for found in (forward, backward):
        assert found.total("elementwise") == pytest.approx(expected, rel=0.01)
        assert found.total("macs") == 0


def test_a_complex_transform_is_five_n_log_n():
    found = figures(lambda x: torch.fft.fft2(x), (3, 8, 4))
    assert found.total("elementwise") == 3 * 5 * 32 * 5
    assert figures(lambda x: torch.fft.fft(x), (3, 8)).total("elementwise") == 3 * 5 * 8 * 3


def test_a_complex_product_is_six_operations():
    found = figures(lambda x: torch.view_as_complex(x) * torch.view_as_complex(x), (5, 2))
    assert found.total("elementwise") == 5 * 6


def test_a_deformed_convolution_multiplies_its_kernel_and_four_neighbours_of_each_sample():
    found = figures(deform_conv2d, (2, 6, 5, 5), (2, 2 * 9, 3, 3), (4, 3, 3, 3))
    samples = 2 * 6 * 9 * (3 * 3)
    assert found.total("macs") == (2 * 4 * 3 * 3) * (3 * 9) + 4 * samples


POOLING = {
    "max": (lambda x: F.max_pool2d(x, 3, stride=2, padding=1), 2 * 4 * 4 * 9),
    "average": (lambda x: F.avg_pool2d(x, 2), 2 * 4 * 4 * 4),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, 1), 2 * 8 * 8),
}


@pytest.mark.parametrize(("function", "operations"), POOLING.values(), ids=POOLING)
def test_pooling(function, operations):
    assert figures(function, (1, 2, 8, 8)).total("elementwise") == operations


def test_batch_norm_with_fixed_statistics_is_a_scale_and_an_offset():
    mean, variance = torch.empty(3, device="meta"), torch.empty(3, device="meta")
    found = figures(lambda x: F.batch_norm(x, mean, variance), (2, 3, 4, 4))
    assert found.total("elementwise") == 2 * (2 * 3 * 4 * 4)


def test_folding_adds_every_value_of_overlapping_patches():
    found = figures(lambda x: F.fold(x, (6, 6), 3, padding=1), (2, 4 * 9, 36))
    assert found.total("elementwise") == 2 * 4 * 9 * 36
