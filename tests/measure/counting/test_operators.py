"""Each rule against the number that its definition gives, on graphs that torch traced."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from s2mlp_cli.measure.counting.counters import flop_counter_macs, traced_figures
from s2mlp_cli.measure.counting.meta_kernels import meta_kernels


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.empty(6, 4, device="meta"))

    def forward(self, x):
        return self.function(x, self.weight)


def figures(function, *shape):
    with meta_kernels():
        return traced_figures(Function(function), torch.empty(shape, device="meta"))


PRODUCTS = {
    "linear": (lambda x, w: F.linear(x, w), (2, 5, 4), 2 * 5 * 6 * 4),
    "matmul of a broadcast weight": (lambda x, w: w @ x, (3, 4, 7), 3 * 6 * 7 * 4),
    "mm": (lambda x, w: torch.mm(x, w.t()), (5, 4), 5 * 6 * 4),
    "bmm": (lambda x, w: torch.bmm(x, x.transpose(1, 2)), (2, 3, 4), 2 * 3 * 3 * 4),
    "addmm": (lambda x, w: torch.addmm(w[:, 0], x, w.t()), (5, 4), 5 * 6 * 4),
    "convolution": (lambda x, w: F.conv2d(x, w.new_empty(8, 3, 2, 2)), (2, 3, 5, 5), 2 * 8 * 16 * 12),
    "convolution that keeps the size": (
        lambda x, w: F.conv2d(x, w.new_empty(8, 3, 3, 3), padding="same"), (2, 3, 5, 5),
        2 * 8 * 25 * 27,
    ),
    "depthwise": (
        lambda x, w: F.conv2d(x, w.new_empty(3, 1, 3, 3), groups=3), (2, 3, 5, 5), 2 * 3 * 9 * 9
    ),
    "transposed": (
        lambda x, w: F.conv_transpose2d(x, w.new_empty(3, 8, 2, 2), stride=2), (1, 3, 5, 5),
        25 * 3 * 8 * 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("function", "shape", "macs"), PRODUCTS.values(), ids=PRODUCTS)
def test_products(function, shape, macs):
    found = figures(function, *shape)
    assert found.total("macs") == macs
    assert found.total("elementwise") == 0
    assert found.unknown == {}
    with meta_kernels():
        assert flop_counter_macs(Function(function), torch.empty(shape, device="meta")) == macs


def test_a_recurrence_meets_every_weight_matrix_once_a_token():
    lstm = nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True, device="meta")
    tokens, gates = 2 * 3, 4 * 5
    by_hand = tokens * 2 * (gates * 4 + gates * 5 + gates * 10 + gates * 5)
    with meta_kernels():
        found = traced_figures(lstm, torch.empty(2, 3, 4, device="meta"))
    assert found.total("macs") == by_hand
    assert found.total("elementwise") == tokens * (2 * 2 * 5) * 13
    assert found.unknown == {}


@pytest.mark.parametrize(("kind", "gates", "operations"), [(nn.GRU, 3, 11), (nn.RNN, 1, 2)])
def test_other_recurrences(kind, gates, operations):
    net = kind(4, 5, batch_first=True, device="meta")
    with meta_kernels():
        found = traced_figures(net, torch.empty(2, 3, 4, device="meta"))
        assert flop_counter_macs(net, torch.empty(2, 3, 4, device="meta")) == found.total("macs")
    assert found.total("macs") == 6 * gates * (5 * 4 + 5 * 5)
    assert found.total("elementwise") == 6 * 5 * operations
    assert found.unknown == {}


def test_a_projected_lstm_has_a_hidden_state_of_its_own_size():
    lstm = nn.LSTM(4, 6, proj_size=2, batch_first=True, device="meta")
    with meta_kernels():
        found = traced_figures(lstm, torch.empty(2, 3, 4, device="meta"))
    assert found.total("macs") == 6 * (24 * 4 + 24 * 2 + 2 * 6)
    assert found.total("elementwise") == 6 * 6 * 13


ELEMENTWISE = {
    "add": (lambda x, w: x + 1, 24),
    "gelu": (lambda x, w: F.gelu(x), 24),
    "layer norm": (lambda x, w: F.layer_norm(x, (4,)), 5 * 24),
    "pooling": (lambda x, w: F.avg_pool1d(x, 2), 2 * 3 * 2 * 2),
    "pooling by a computed window": (lambda x, w: F.avg_pool2d(x[None], x.shape[1:]), 24),
    "rms norm": (lambda x, w: F.rms_norm(x, (4,)), 4 * 24),
    "cumulative sum": (lambda x, w: x.cumsum(1), 24),
    "softmax": (lambda x, w: x.softmax(-1), 5 * 24),
    "mean": (lambda x, w: x.mean(dim=(1,)), 24),
    "bilinear, antialiased": (
        lambda x, w: F.interpolate(x[None], (6, 8), mode="bilinear", antialias=True), 8 * 96,
    ),
    "addcmul": (lambda x, w: torch.addcmul(x, x, x), 48),
}  # fmt: skip


@pytest.mark.parametrize(("function", "operations"), ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_elementwise(function, operations):
    found = figures(function, 2, 3, 4)
    assert (found.total("elementwise"), found.total("macs")) == (operations, 0)
    assert found.unknown == {}


MOVEMENT = {
    "roll": lambda x, w: torch.roll(x, 1, 1),
    "pad": lambda x, w: F.pad(x, (1, 1)),
    "stack": lambda x, w: torch.stack([x, x]),
    "shape arithmetic": lambda x, w: x.reshape(x.shape[0] * x.shape[1], x.shape[2] * 2 // 2),
    "slices": lambda x, w: x[:, 1:, :-1].clone(),
}


@pytest.mark.parametrize("function", MOVEMENT.values(), ids=MOVEMENT)
def test_movement_counts_nothing_and_raises_no_false_alarm(function):
    found = figures(function, 2, 3, 4)
    assert not found.modules[""]
    assert found.unknown == {}


def test_an_operator_without_a_rule_is_reported():
    found = figures(lambda x, w: torch.erfinv(x), 2, 3)
    assert found.unknown == {"aten::erfinv": 1}
