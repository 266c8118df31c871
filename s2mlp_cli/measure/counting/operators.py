"""What every operator of a traced graph costs: one small rule per operator, in tables.

A rule takes the graph values of an operator's inputs and outputs. Linear layers, convolutions and
matrix products cost multiply-accumulates (MACs); everything else costs element-wise operations.
An operator that only moves data or does arithmetic on shapes costs nothing. An operator that no
table names is reported as uncounted.

The values are fvcore's handles (``inputs, outputs -> Counter``); the keys of the counters are
``figure:operator``, so that one trace yields all the figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from fvcore.nn.jit_handles import get_shape

FIGURES = ("macs", "elementwise", "activations", "calls")

Values = list[Any]
Handle = Callable[[Values, Values], "Counter[str]"]


class Cost(NamedTuple):
    """What one call costs; ``activations`` are the values that a product writes."""

    macs: int = 0
    elementwise: int = 0
    activations: int = 0


# None where the values are not a network's.
Rule = Callable[[Values, Values], "Cost | None"]


def shape(value: Any) -> list[int]:
    """Return the sizes of a graph value; those of a scalar are ``[]``."""
    return list(get_shape(value) or ())


def size(value: Any) -> int:
    return math.prod(shape(value))


def _product(place: int, inputs: Values, outputs: Values) -> Cost:
    """X @ W.T + b: every output value is a dot product over the last axis of x, an input."""
    return Cost(size(outputs[0]) * shape(inputs[place])[-1], 0, size(outputs[0]))


def _convolution(inputs: Values, outputs: Values) -> Cost:
    """Every output value (input value, if transposed) meets one kernel: Cin/groups x k x k."""
    can_be_transposed = len(inputs) > 7  # not so padding="same"
    met = inputs[0] if can_be_transposed and inputs[6].toIValue() else outputs[0]
    return Cost(size(met) * math.prod(shape(inputs[1])[1:]), 0, size(outputs[0]))


def _deformed_convolution(inputs: Values, outputs: Values) -> Cost:
    """The products of the kernel, and four multiply-adds for each bilinear sample of the input."""
    batch, channels = shape(inputs[0])[:2]
    positions = math.prod(shape(outputs[0])[-2:])
    kernel = shape(inputs[1])
    samples = batch * channels * math.prod(kernel[2:]) * positions
    return Cost(size(outputs[0]) * math.prod(kernel[1:]) + 4 * samples, 0, size(outputs[0]))


def _recurrence(gates: int, operations: int, inputs: Values, outputs: Values) -> Cost:
    """Every token meets each weight matrix of a recurrent network once.

    A hidden value has ``gates`` rows in the matrices of each layer and direction, and costs
    ``operations``, element-wise.
    """
    weights = [shape(weight) for weight in inputs[2].node().inputs()]
    matrices = [weight for weight in weights if len(weight) == 2]
    tokens = size(inputs[0]) // shape(inputs[0])[-1]
    projected = gates == 4 and len(matrices) % 3 == 0 and matrices[2][0] == matrices[1][1]
    hidden = sum(weight[0] for weight in matrices[1 :: 3 if projected else 2]) // gates
    macs = tokens * sum(map(math.prod, matrices))
    return Cost(macs, tokens * hidden * operations, size(outputs[0]))


def _attention(inputs: Values, outputs: Values) -> Cost:
    """Count a fused attention as its two products, the scaling of Q and the softmax between."""
    *batch, queries, features = shape(inputs[0])
    scores = math.prod(batch) * queries * shape(inputs[1])[-2]
    return Cost(
        macs=scores * (features + shape(inputs[2])[-1]),
        elementwise=size(inputs[0]) + PER_OUTPUT["aten::softmax"] * scores,
        activations=scores + size(outputs[0]),
    )


def _einsum(inputs: Values, outputs: Values) -> Cost:
    """Contract two operands at a time, in the order of torch: the first two, or by its path.

    A pair costs one MAC per combination of their indices; an index that only one of them has, and
    that nothing needs afterwards, is summed before. One operand multiplies nothing.
    """
    left, _, right = inputs[0].toIValue().replace(" ", "").partition("->")
    tensors = list(inputs[1].node().inputs())
    pairs = [
        _labelled(labels, shape(each))
        for labels, each in zip(left.split(","), tensors, strict=True)
    ]
    lengths: dict[str, int] = {}
    for label, length in (pair for operand in pairs for pair in operand):
        lengths[label] = max(length, lengths.get(label, 1))
    operands = [{label for label, _ in operand} for operand in pairs]
    named = Counter(label for operand in pairs for label, _ in operand)
    wanted = set(right) if right else {label for label, times in named.items() if times == 1}
    wanted |= {label for label in lengths if label.isdecimal()}  # the axes of an ellipsis
    path = (len(inputs) > 2 and inputs[2].toIValue()) or [0, 1] * (len(operands) - 1)
    macs = 0
    for first, second in zip(path[::2], path[1::2], strict=True):
        one, two = operands[first], operands[second]
        operands = [each for n, each in enumerate(operands) if n not in (first, second)]
        needed = wanted.union(*operands)
        met = (one & (two | needed)) | (two & (one | needed))
        macs += math.prod(lengths[label] for label in met)
        operands.append(met & needed)
    return Cost(macs, 0, size(outputs[0]))


def _labelled(labels: str, lengths: list[int]) -> list[tuple[str, int]]:
    """Pair labels with lengths; the axes of an ellipsis are numbered from the right."""
    before, dots, after = labels.partition("...")
    hidden = [str(axis) for axis in range(len(lengths) - len(before + after), 0, -1)]
    return list(zip([*before, *(hidden if dots else ()), *after], lengths, strict=True))


def _real_transform(inputs: Values, outputs: Values) -> Cost:
    """The real FFT of N values: 2.5 N log2 N real operations, half of a complex one's 5 N log2 N.

    That is the convention of FFT benchmarks, whatever the factors of N. N is the product of the
    transformed axes; the real side of the transform is its input, or the output of the inverse.
    """
    real = max(inputs[0], outputs[0], key=size)
    return Cost(elementwise=round(2.5 * size(real) * math.log2(_length(real, inputs[2]))))


def _complex_transform(inputs: Values, outputs: Values) -> Cost:
    """The complex FFT of N values: 5 N log2 N real operations, by the same convention."""
    length = _length(outputs[0], inputs[2])
    return Cost(elementwise=round(5 * size(outputs[0]) * math.log2(length)))


def _length(value: Any, axes: Any) -> int:
    """Return the product of the axes that a transform goes over: one, several, or all (None)."""
    sizes, chosen = shape(value), axes.toIValue()
    if isinstance(chosen, int):
        return sizes[chosen]
    return math.prod(
        sizes[axis] for axis in (_numbers(axes) if chosen != [] else range(len(sizes)))
    )


def _pooling(inputs: Values, outputs: Values) -> Cost:
    """One operation for every value under every window.

    A window whose size the model computes is not a constant of the trace: such windows are taken
    to tile the input.
    """
    window = _numbers(inputs[1])
    tiled = None in window
    return Cost(elementwise=size(inputs[0]) if tiled else size(outputs[0]) * math.prod(window))


def _numbers(value: Any) -> list[Any]:
    """Return the integers of a constant or a list in the trace; None for a computed one."""
    constant = value.toIValue()
    return constant if constant else [item.toIValue() for item in value.node().inputs()]


# The first input of addmm and its kind is what they add.
_of_first, _of_second = partial(_product, 0), partial(_product, 1)

# Operators with a rule of their own.
RULES: dict[str, Rule] = {
    "aten::linear": _of_first,
    "aten::matmul": _of_first,  # the output's size has any broadcast batch in it
    "aten::mm": _of_first,
    "aten::bmm": _of_first,
    "aten::mv": _of_first,
    "aten::dot": _of_first,
    "aten::vdot": _of_first,
    "aten::addmm": _of_second,
    "aten::addmv": _of_second,
    "aten::baddbmm": _of_second,
    "aten::einsum": _einsum,
    "aten::_convolution": _convolution,
    "aten::_convolution_mode": _convolution,
    "aten::scaled_dot_product_attention": _attention,
    # Gates: 4 functions, 4 sums of both products. Cell: two products, a sum. Output: tanh, product.
    "aten::lstm": partial(_recurrence, 4, 13),
    # Gates: 3 functions, 3 sums of both products, one product. State: a sum of two products, 1 - z.
    "aten::gru": partial(_recurrence, 3, 11),
    "aten::rnn_tanh": partial(_recurrence, 1, 2),
    "aten::rnn_relu": partial(_recurrence, 1, 2),
    "torchvision::deform_conv2d": _deformed_convolution,
    "aten::fft_rfft": _real_transform,
    "aten::fft_irfft": _real_transform,
    "aten::fft_rfft2": _real_transform,
    "aten::fft_irfft2": _real_transform,
    "aten::fft_fft": _complex_transform,
    "aten::fft_ifft": _complex_transform,
    "aten::fft_fft2": _complex_transform,
    "aten::fft_ifft2": _complex_transform,
    "aten::max_pool1d": _pooling,
    "aten::max_pool2d": _pooling,
    "aten::max_pool3d": _pooling,
    "aten::avg_pool1d": _pooling,
    "aten::avg_pool2d": _pooling,
    "aten::avg_pool3d": _pooling,
}

_ONE_EACH = """
abs add add_ clamp clamp_ clamp_max clamp_min cos div div_ elu elu_ erf exp gelu gelu_ hardsigmoid
hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ leaky_relu leaky_relu_ log log_sigmoid maximum
minimum mish mish_ mul mul_ neg pow reciprocal relu relu6 relu6_ relu_ rsqrt rsub sigmoid sigmoid_
silu silu_ sin softplus sqrt square sub sub_ tanh tanh_
"""
# Operations per value of the output, by convention: one for each arithmetic function.
PER_OUTPUT: dict[str, int] = dict.fromkeys((f"aten::{name}" for name in _ONE_EACH.split()), 1) | {
    "aten::addcmul": 2,
    "aten::addcmul_": 2,
    "aten::batch_norm": 2,  # with fixed statistics: one scale, one offset
    "aten::group_norm": 5,
    "aten::instance_norm": 5,
    "aten::layer_norm": 5,  # subtract the mean, divide by the deviation, scale, add; as fvcore
    "aten::lerp": 3,
    "aten::log_softmax": 5,
    "aten::rms_norm": 4,  # square, average, divide by the root, scale
    "aten::softmax": 5,  # maximum, subtract, exponential, sum, divide
    "aten::prelu": 2,
    "aten::_weight_norm": 4,  # square, sum, divide, multiply
    "aten::upsample_bilinear2d": 8,  # four neighbours, each multiplied and added
    "aten::_upsample_bilinear2d_aa": 8,  # the same where it enlarges
    "aten::grid_sampler": 8,  # bilinear
    "aten::grid_sampler_2d": 8,
    "aten::upsample_bicubic2d": 32,  # sixteen neighbours
    "aten::_upsample_bicubic2d_aa": 32,  # the same where it enlarges
}

# Operations per value of the input: reductions.
PER_INPUT: dict[str, int] = {
    "aten::adaptive_avg_pool1d": 1,
    "aten::adaptive_avg_pool2d": 1,
    "aten::adaptive_avg_pool3d": 1,
    "aten::adaptive_max_pool2d": 1,
    "aten::amax": 1,
    "aten::amin": 1,
    "aten::col2im": 1,  # overlapping patches are added up
    "aten::cumsum": 1,
    "aten::linalg_vector_norm": 2,
    "aten::logsumexp": 4,  # maximum, subtract, exponential, sum
    "aten::max": 1,
    "aten::mean": 1,
    "aten::min": 1,
    "aten::norm": 2,
    "aten::prod": 1,
    "aten::std": 4,
    "aten::sum": 1,
    "aten::var": 3,
}

# Real operations per value where the values are complex; any other operator: as if real.
COMPLEX: dict[str, int] = {"aten::mul": 6, "aten::mul_": 6, "aten::add": 2, "aten::sub": 2}

_MOVING = """
alias __and__ arange argmax argmin argsort bitwise_and bitwise_not bitwise_or broadcast_tensors
broadcast_to cat ceil channel_shuffle chunk clone complex constant_pad_nd contiguous copy_ detach
detach_ dropout dropout_ embedding empty empty_like empty_strided eq expand expand_as eye
feature_dropout fill_ flatten flip floor floor_divide full full_like gather ge gt im2col index
index_put_ index_select Int is_nonzero item le lift lift_fresh lift_fresh_copy linspace logical_and
logical_not logical_or lt masked_fill masked_fill_ meshgrid moveaxis movedim narrow ne new_empty
new_full new_ones new_zeros numel numpy_T one_hot ones ones_like __or__ pad permute pixel_shuffle
pixel_unshuffle reflection_pad2d remainder repeat repeat_interleave replication_pad2d reshape
reshape_as resolve_conj resolve_neg roll round scalar_tensor ScalarImplicit scatter select size
slice sort split split_with_sizes squeeze stack swapaxes swapdims T t tensor_split tile to topk
transpose tril triu type_as unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze
upsample_nearest1d upsample_nearest2d upsample_nearest3d view view_as view_as_complex view_as_real
where zero_ zeros zeros_like
"""
# Operators that move, choose or make data, or reckon with shapes: nothing to count.
MOVEMENT = tuple(f"aten::{name}" for name in _MOVING.split())


def handles() -> dict[str, Handle]:
    """Return fvcore's table: one handle per operator that any of the tables names."""
    table: dict[str, Rule] = dict(RULES)
    for kind, cost in PER_OUTPUT.items():
        table[kind] = partial(_elementwise, COMPLEX.get(kind, 1), 0, cost)
    for kind, cost in PER_INPUT.items():
        table[kind] = partial(_elementwise, 1, cost, 0)
    counted: dict[str, Handle] = {
        kind: partial(_counted, kind.partition("::")[2].strip("_"), rule)
        for kind, rule in table.items()
    }
    return counted | dict.fromkeys(MOVEMENT, lambda inputs, outputs: Counter())


def _counted(name: str, rule: Rule, inputs: Values, outputs: Values) -> Counter[str]:
    """Apply a rule; ``name`` is ``linear`` for ``aten::linear``."""
    cost = rule(inputs, outputs)
    if cost is None:
        return Counter()
    figures = {f"{figure}:{name}": value for figure, value in cost._asdict().items() if value}
    return Counter({**figures, f"calls:{name}": 1})


def _elementwise(
    of_complex: int, per_input: int, per_output: int, inputs: Values, outputs: Values
) -> Cost | None:
    """Count operations on the values of a network; the tracer writes shape arithmetic alike."""
    value = outputs[0]
    dtype = (value.type().scalarType() or "") if value.isCompleteTensor() else ""
    if dtype not in {"Float", "Double", "Half", "BFloat16", "ComplexFloat", "ComplexDouble"}:
        return None
    operations = (per_input and per_input * size(inputs[0])) + per_output * size(value)
    return Cost(elementwise=operations * (of_complex if dtype.startswith("Complex") else 1))
