"""The rules for operators whose cost is not one number per value, each a small function.

A rule takes the graph values of an operator's inputs and outputs and returns a number:
multiply-accumulates (MACs) for products, real operations for transforms and pooling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fvcore.nn.jit_handles import get_shape

Values = list[Any]
Rule = Callable[[Values, Values], int]


def shape(value: Any) -> list[int]:
    """Return the sizes of a graph value; those of a scalar are ``[]``."""
    return list(get_shape(value) or ())


def size(value: Any) -> int:
    """Return the number of elements of a graph value."""
    return math.prod(shape(value))


def linear(inputs: Values, outputs: Values) -> int:
    """X @ W.T + b: every output value is a dot product over x's last axis."""
    return size(outputs[0]) * _last(inputs[0])


def added_product(inputs: Values, outputs: Values) -> int:
    """Bias + x @ y, as addmm and baddbmm write it."""
    return size(outputs[0]) * _last(inputs[1])


def convolution(inputs: Values, outputs: Values) -> int:
    """Every output value (input value, if transposed) meets one kernel: Cin/groups x k x k."""
    transposed = bool(inputs[6].toIValue())
    return plain_convolution(inputs, inputs[:1] if transposed else outputs)


def plain_convolution(inputs: Values, outputs: Values) -> int:
    """Every output value meets one kernel: Cin/groups x k x k."""
    return size(outputs[0]) * math.prod(shape(inputs[1])[1:])


def deformed_convolution(inputs: Values, outputs: Values) -> int:
    """The products of the kernel, and four multiply-adds for each bilinear sample of the input."""
    batch, channels = shape(inputs[0])[:2]
    positions = math.prod(shape(outputs[0])[-2:])
    kernel = shape(inputs[1])
    samples = batch * channels * math.prod(kernel[2:]) * positions
    return size(outputs[0]) * math.prod(kernel[1:]) + 4 * samples


def recurrence(inputs: Values, outputs: Values) -> int:
    """Every token of an LSTM meets each of its weight matrices once: input's and state's gates."""
    weights = [shape(weight) for weight in inputs[2].node().inputs()]
    tokens = size(inputs[0]) // _last(inputs[0])
    return tokens * sum(math.prod(weight) for weight in weights if len(weight) == 2)


def attention_scores(inputs: Values) -> int:
    """Return how many scores scaled-dot-product attention has: one per query and key."""
    *batch, queries, _ = shape(inputs[0])
    return math.prod(batch) * queries * shape(inputs[1])[-2]


def attention(inputs: Values, outputs: Values) -> int:
    """Softmax(Q K^T) V: each score costs a dot product, and weighs one value vector."""
    return attention_scores(inputs) * (_last(inputs[0]) + _last(inputs[2]))


def einsum(inputs: Values, outputs: Values) -> int:
    """One MAC per combination of all indices: exact for two operands, nothing for one.

    With more operands the cost depends on the order of contraction; this is its upper bound.
    """
    left = inputs[0].toIValue().replace(" ", "").partition("->")[0]
    operands = list(inputs[1].node().inputs())
    lengths: dict[str, int] = {}
    for labels, operand in zip(left.split(","), operands, strict=True):
        for label, length in _labelled(labels, shape(operand)):
            lengths[label] = max(length, lengths.get(label, 1))
    return math.prod(lengths.values()) * (len(operands) - 1)


def _labelled(labels: str, lengths: list[int]) -> list[tuple[str, int]]:
    """Pair labels with lengths; the axes of an ellipsis are numbered from the right."""
    before, dots, after = labels.partition("...")
    hidden = [str(axis) for axis in range(len(lengths) - len(before + after), 0, -1)]
    return list(zip([*before, *(hidden if dots else ()), *after], lengths, strict=True))


def real_transform(inputs: Values, outputs: Values) -> int:
    """The real FFT of N values: 2.5 N log2 N real operations, half of a complex one's 5 N log2 N.

    That is the convention of FFT benchmarks, whatever the factors of N. N is the product of the
    transformed axes; the real side of the transform is its input, or the output of the inverse.
    """
    real = max(inputs[0], outputs[0], key=size)
    length = math.prod(shape(real)[axis] for axis in _numbers(inputs[2]))
    return round(2.5 * size(real) * math.log2(length))


def pooling(inputs: Values, outputs: Values) -> int:
    """One operation for every value under every window.

    A window whose size the model computes is no constant of the trace: such windows are taken to
    tile the input.
    """
    window = _numbers(inputs[1])
    return size(inputs[0]) if None in window else size(outputs[0]) * math.prod(window)


def _numbers(value: Any) -> list[Any]:
    """Return the integers of a constant or a list in the trace; None for a computed one."""
    constant = value.toIValue()
    return constant if constant else [item.toIValue() for item in value.node().inputs()]


def _last(value: Any) -> int:
    return shape(value)[-1]
