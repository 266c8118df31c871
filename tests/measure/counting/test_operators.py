"""Each rule against the number that its definition gives, on graphs that torch traced."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import deform_conv2d

from s2mlp_cli.measure.counting.counters import flop_counter_macs, traced_figures
from s2mlp_cli.measure.counting.meta_kernels import meta_kernels


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def both(function, *shapes):
    """Return a function's figures, and the MACs of torch's counter; its first tensor is traced."""
    x, *others = (torch.empty(shape, device="meta") for shape in shapes)
    net = function if isinstance(function, nn.Module) else Function(lambda x: function(x, *others))
    with meta_kernels():
        return traced_figures(net, x), flop_counter_macs(net, x)


def figures(function, *shapes):
    found, _ = both(function, *shapes)
    assert found.unknown == {}
    return found


PRODUCTS = {
    "linear": (F.linear, [(2, 5, 4), (6, 4)], 2 * 5 * 6 * 4),
    "matmul of a broadcast weight": (lambda x, w: w @ x, [(3, 4, 7), (6, 4)], 3 * 6 * 7 * 4),
    "mm": (torch.mm, [(5, 4), (4, 6)], 5 * 6 * 4),
    "bmm": (torch.bmm, [(2, 3, 4), (2, 4, 3)], 2 * 3 * 3 * 4),
    "addmm": (lambda x, y, b: torch.addmm(b, x, y), [(5, 4), (4, 6), (6,)], 5 * 6 * 4),
    "convolution": (F.conv2d, [(2, 3, 5, 5), (8, 3, 2, 2)], 2 * 8 * 16 * 12),
    "convolution that keeps the size": (
        lambda x, w: F.conv2d(x, w, padding="same"), [(2, 3, 5, 5), (8, 3, 3, 3)], 2 * 8 * 25 * 27,
    ),
    "depthwise": (
        lambda x, w: F.conv2d(x, w, groups=3), [(2, 3, 5, 5), (3, 1, 3, 3)], 2 * 3 * 9 * 9
    ),
    "transposed": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2), [(1, 3, 5, 5), (3, 8, 2, 2)],
        25 * 3 * 8 * 4,
    ),
    "fused attention": (
        lambda x: F.scaled_dot_product_attention(x, x, x), [(2, 3, 5, 4)], 2 * (2 * 3) * 5 * 5 * 4
    ),
}  # fmt: skip


@pytest.mark.parametrize(("function", "shapes", "macs"), PRODUCTS.values(), ids=PRODUCTS)
def test_products_by_both_counters(function, shapes, macs):
    found, by_torch = both(function, *shapes)
    assert found.total("macs") == by_torch == macs
    assert found.unknown == {}


def test_a_product_alone_has_no_elementwise_operations():
    assert figures(F.linear, (2, 5, 4), (6, 4)).total("elementwise") == 0


def test_a_recurrence_meets_every_weight_matrix_once_a_token():
    lstm = nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True, device="meta")
    tokens, gates = 2 * 3, 4 * 5
    by_hand = tokens * 2 * (gates * 4 + gates * 5 + gates * 10 + gates * 5)
    found = figures(lstm, (2, 3, 4))
    assert found.total("macs") == by_hand
    assert found.total("elementwise") == tokens * (2 * 2 * 5) * 13


@pytest.mark.parametrize(("kind", "gates", "operations"), [(nn.GRU, 3, 11), (nn.RNN, 1, 2)])
def test_other_recurrences(kind, gates, operations):
    found, by_torch = both(kind(4, 5, batch_first=True, device="meta"), (2, 3, 4))
    assert found.total("macs") == by_torch == 6 * gates * (5 * 4 + 5 * 5)
    assert found.total("elementwise") == 6 * 5 * operations
    assert found.unknown == {}


def test_a_projected_lstm_has_a_hidden_state_of_its_own_size():
    found = figures(nn.LSTM(4, 6, proj_size=2, batch_first=True, device="meta"), (2, 3, 4))
    assert found.total("macs") == 6 * (24 * 4 + 24 * 2 + 2 * 6)
    assert found.total("elementwise") == 6 * 6 * 13


# Operations on a tensor of 2x3x4.
ELEMENTWISE = {
    "add": (lambda x: x + 1, 24),
    "gelu": (F.gelu, 24),
    "layer norm": (lambda x: F.layer_norm(x, (4,)), 5 * 24),
    "rms norm": (lambda x: F.rms_norm(x, (4,)), 4 * 24),
    "cumulative sum": (lambda x: x.cumsum(1), 24),
    "softmax": (lambda x: x.softmax(-1), 5 * 24),
    "mean": (lambda x: x.mean(dim=(1,)), 24),
    "bilinear, antialiased": (
        lambda x: F.interpolate(x[None], (6, 8), mode="bilinear", antialias=True), 8 * 96,
    ),
    "addcmul": (lambda x: torch.addcmul(x, x, x), 48),
    "pooling": (lambda x: F.avg_pool1d(x, 2), 2 * 3 * 2 * 2),
    "pooling by a computed window": (lambda x: F.avg_pool2d(x[None], x.shape[1:]), 24),
    "pooling of windows that overlap": (
        lambda x: F.max_pool2d(x[None], 3, stride=2, padding=1), 2 * 2 * 2 * 9,
    ),
    "adaptive pooling": (lambda x: F.adaptive_avg_pool2d(x[None], 1), 24),
}  # fmt: skip


@pytest.mark.parametrize(("function", "operations"), ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_elementwise(function, operations):
    found = figures(function, (2, 3, 4))
    assert (found.total("elementwise"), found.total("macs")) == (operations, 0)


MOVEMENT = {
    "roll": lambda x: torch.roll(x, 1, 1),
    "pad": lambda x: F.pad(x, (1, 1)),
    "stack": lambda x: torch.stack([x, x]),
    "shape arithmetic": lambda x: x.reshape(x.shape[0] * x.shape[1], x.shape[2] * 2 // 2),
    "slices": lambda x: x[:, 1:, :-1].clone(),
}


@pytest.mark.parametrize("function", MOVEMENT.values(), ids=MOVEMENT)
def test_movement_counts_nothing_and_raises_no_false_alarm(function):
    assert not figures(function, (2, 3, 4)).modules[""]


def test_an_operator_without_a_rule_is_reported():
    found, _ = both(torch.erfinv, (2, 3))
    assert found.unknown == {"aten::erfinv": 1}


ATTENTION = {
    "self": ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4)),
    "fewer keys than queries": ((2, 3, 5, 4), (2, 3, 2, 4), (2, 3, 2, 4)),
    "wider values": ((1, 2, 5, 4), (1, 2, 7, 4), (1, 2, 7, 6)),
    "blocks of images": ((2, 3, 6, 5, 4), (2, 3, 6, 5, 4), (2, 3, 6, 5, 4)),
}


@pytest.mark.parametrize("shapes", ATTENTION.values(), ids=ATTENTION)
def test_fused_attention_counts_like_its_parts(shapes):
    fused = figures(F.scaled_dot_product_attention, *shapes)
    parts = figures(lambda x, y, z: ((x * 0.5) @ y.transpose(-2, -1)).softmax(-1) @ z, *shapes)
    for figure in ("macs", "elementwise", "activations"):
        assert fused.total(figure) == parts.total(figure), figure


EINSUM = {
    "matrix product": ("ij,jk->ik", ((3, 4), (4, 5)), 3 * 4 * 5),
    "batched, with spaces": ("b i j, b k j -> b i k", ((2, 3, 4), (2, 5, 4)), 2 * 3 * 4 * 5),
    "outer product": ("i,j->ij", ((3,), (4,)), 0),
    "ellipsis": ("...ij,jk->...ik", ((6, 2, 3, 4), (4, 5)), 6 * 2 * 3 * 4 * 5),
    "two ellipses": ("...i,...i->...", ((6, 2, 3), (2, 3)), 6 * 2 * 3),
    "no arrow": ("ij,jk", ((3, 4), (4, 5)), 3 * 4 * 5),
    "axes of one": ("bij,bjk->bik", ((1, 3, 1), (1, 1, 5)), 0),
    "broadcast": ("bi,bi->b", ((1, 4), (3, 4)), 12),
    "one operand": ("ij->ji", ((3, 4),), 0),
    "left to right": ("bchw,co,od->bdhw", ((1, 3, 8, 8), (3, 4), (4, 5)), 64 * (3 * 4 + 4 * 5)),
    "an index that is summed before": ("ij,jk->k", ((3, 4), (4, 5)), 4 * 5),
    "a product of three": ("i,i,i->i", ((6,), (6,), (6,)), 0),
    "an outer index last": ("ab,bc,d->acd", ((2, 3), (3, 4), (5,)), 24),
}


@pytest.mark.parametrize(("equation", "shapes", "macs"), EINSUM.values(), ids=EINSUM)
def test_einsum_contracts_two_at_a_time_like_torch(monkeypatch, equation, shapes, macs):
    monkeypatch.setattr(torch.backends.opt_einsum, "enabled", False)
    found = figures(lambda *operands: torch.einsum(equation, *operands), *shapes)
    assert found.total("macs") == macs
    with FlopCounterMode(display=False) as counter:
        torch.einsum(equation, *map(torch.ones, shapes))
    assert counter.get_total_flops() // 2 == macs


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
    assert figures(torch.fft.fft2, (3, 8, 4)).total("elementwise") == 3 * 5 * 32 * 5
    assert figures(torch.fft.fft, (3, 8)).total("elementwise") == 3 * 5 * 8 * 3


def test_a_complex_product_is_six_operations():
    found = figures(lambda x: torch.view_as_complex(x) * torch.view_as_complex(x), (5, 2))
    assert found.total("elementwise") == 5 * 6


def test_a_deformed_convolution_multiplies_its_kernel_and_four_neighbours_of_each_sample():
    found = figures(deform_conv2d, (2, 6, 5, 5), (2, 2 * 9, 3, 3), (4, 3, 3, 3))
    samples = 2 * 6 * 9 * (3 * 3)
    assert found.total("macs") == (2 * 4 * 3 * 3) * (3 * 9) + 4 * samples


def test_batch_norm_with_fixed_statistics_is_a_scale_and_an_offset():
    found = figures(F.batch_norm, (2, 3, 4, 4), (3,), (3,))
    assert found.total("elementwise") == 2 * (2 * 3 * 4 * 4)


def test_folding_adds_every_value_of_overlapping_patches():
    found = figures(lambda x: F.fold(x, (6, 6), 3, padding=1), (2, 4 * 9, 36))
    assert found.total("elementwise") == 2 * 4 * 9 * 36
