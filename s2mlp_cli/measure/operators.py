"""How every operator of a traced graph is counted: one small rule per operator, in tables.

A rule takes the operator's graph values and returns its figures: multiply-accumulates (MACs) for
linear layers, convolutions and matrix products; operations on single values for everything else.
An operator that only moves data or does arithmetic on shapes counts nothing. An operator that no
table names is reported as uncounted.

The values are fvcore's handles (``inputs, outputs -> Counter``); the keys of the counters are
``figure:operator``, so that one trace yields all the figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from fvcore.nn.jit_handles import get_shape

FIGURES = ("macs", "elementwise", "activations", "calls")

Values = list[Any]
Handle = Callable[[Values, Values], "Counter[str]"]
Rule = Callable[[Values, Values], int]


def size(value: Any) -> int:
    """Return the number of elements of a graph value."""
    return int(math.prod(get_shape(value) or ()))


def _linear(inputs: Values, outputs: Values) -> int:
    """X @ W.T + b: every output value is a dot product over x's last axis."""
    return size(outputs[0]) * _last(inputs[0])


def _added_product(inputs: Values, outputs: Values) -> int:
    """Bias + x @ y, as addmm and baddbmm write it."""
    return size(outputs[0]) * _last(inputs[1])


def _convolution(inputs: Values, outputs: Values) -> int:
    """Every output value (input value, if transposed) meets one kernel: Cin/groups x k x k."""
    transposed = bool(inputs[6].toIValue())
    kernel = int(math.prod((get_shape(inputs[1]) or [0])[1:]))
    return size(inputs[0] if transposed else outputs[0]) * kernel


def _deformed_convolution(inputs: Values, outputs: Values) -> int:
    """The products of the kernel, and four multiply-adds for each bilinear sample of the input."""
    batch, channels = (get_shape(inputs[0]) or [0, 0])[:2]
    out_height, out_width = (get_shape(outputs[0]) or [0, 0])[-2:]
    kernel = get_shape(inputs[1]) or [0]
    samples = batch * channels * math.prod(kernel[2:]) * out_height * out_width
    return int(size(outputs[0]) * math.prod(kernel[1:]) + 4 * samples)


def _last(value: Any) -> int:
    return int((get_shape(value) or [0])[-1])


PRODUCTS: dict[str, Rule] = {
    "aten::linear": _linear,
    "aten::matmul": _linear,  # the output's size has any broadcast batch in it
    "aten::mm": _linear,
    "aten::bmm": _linear,
    "aten::addmm": _added_product,
    "aten::baddbmm": _added_product,
    "aten::_convolution": _convolution,
    "torchvision::deform_conv2d": _deformed_convolution,
}
"""Operators counted in multiply-accumulates."""

PER_OUTPUT: dict[str, int] = {
    "aten::add": 1,
    "aten::add_": 1,
    "aten::sub": 1,
    "aten::rsub": 1,
    "aten::mul": 1,
    "aten::mul_": 1,
    "aten::div": 1,
    "aten::addcmul": 2,
    "aten::addcmul_": 2,
    "aten::gelu": 1,
    "aten::layer_norm": 5,  # subtract the mean, divide by the deviation, scale, add; as fvcore
    "aten::softmax": 5,  # maximum, subtract, exponential, sum, divide
}
"""Operations per value of the output, by convention: one for each arithmetic function."""

PER_INPUT: dict[str, int] = {
    "aten::mean": 1,
    "aten::sum": 1,
}
"""Operations per value of the input: reductions."""

_MOVING = """
arange cat chunk clamp clone constant_pad_nd contiguous copy_ detach dropout empty empty_like
empty_strided expand expand_as eye fill_ flatten flip floor_divide full gather index index_put_
index_select Int lift_fresh narrow new_empty new_zeros ones pad permute remainder repeat
replication_pad2d reshape roll ScalarImplicit select size slice split split_with_sizes squeeze
stack t to transpose unbind unflatten unsqueeze view zero_ zeros zeros_like
"""
MOVEMENT = tuple(f"aten::{name}" for name in _MOVING.split())
"""Operators that move or make data, or reckon with shapes: nothing to count."""


def handles() -> dict[str, Handle]:
    """Return fvcore's table: one handle per operator that any of the tables names."""
    table = {kind: _product(kind, rule) for kind, rule in PRODUCTS.items()}
    table |= {kind: _elementwise(kind, 0, cost) for kind, cost in PER_OUTPUT.items()}
    table |= {kind: _elementwise(kind, cost, 0) for kind, cost in PER_INPUT.items()}
    return table | dict.fromkeys(MOVEMENT, _nothing)


def _product(kind: str, rule: Rule) -> Handle:
    name = _name(kind)

    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        return Counter(
            {
                f"macs:{name}": rule(inputs, outputs),
                f"activations:{name}": size(outputs[0]),
                f"calls:{name}": 1,
            }
        )

    return handle


def _elementwise(kind: str, per_input: int, per_output: int) -> Handle:
    name = _name(kind)

    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        if not _holds_floats(outputs[0]):
            return Counter()
        operations = (per_input and per_input * size(inputs[0])) + per_output * size(outputs[0])
        return Counter({f"elementwise:{name}": operations, f"calls:{name}": 1})

    return handle


def _nothing(inputs: Values, outputs: Values) -> Counter[str]:
    return Counter()


def _holds_floats(value: Any) -> bool:
    """Tell values of the network from shape arithmetic, which the tracer writes as tensors."""
    kind = value.type().scalarType() if value.isCompleteTensor() else None
    return kind in {"Float", "Double", "Half", "BFloat16", "ComplexFloat", "ComplexDouble"}


def _name(kind: str) -> str:
    """Return ``linear`` for ``aten::linear``, ``convolution`` for ``aten::_convolution``."""
    return kind.partition("::")[2].strip("_")
