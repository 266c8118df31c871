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

# Operations per value of a softmax: maximum, subtract, exponential, sum, divide.
SOFTMAX = 5

Values = list[Any]
Handle = Callable[[Values, Values], "Counter[str]"]


class Cost(NamedTuple):
    """What one call costs; ``activations`` are the values that a product writes."""

    macs: int = 0
    elementwise: int = 0
    activations: int = 0


# None where there is nothing to count.
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
        elementwise=size(inputs[0]) + SOFTMAX * scores,
        activations=scores + size(outputs[0]),
    )


def _einsum(inputs: Values, outputs: Values) -> Cost:
    """Contract two operands at a time, in the order of torch: the first two, or by its path.

    A pair costs one MAC per combination of their indices; an index that only one of them has, and
    that nothing needs afterwards, is summed before. A pair with no sum costs element-wise products.
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
    macs = elementwise = 0
    for first, second in zip(path[::2], path[1::2], strict=True):
        one, two = operands[first], operands[second]
        operands = [each for n, each in enumerate(operands) if n not in (first, second)]
        needed = wanted.union(*operands)
        met = (one & (two | needed)) | (two & (one | needed))
        products = math.prod(lengths[label] for label in met)
        if any(lengths[label] > 1 for label in met - needed):
            macs += products
        else:  # nothing is summed: torch multiplies element by element
            elementwise += products
        operands.append(met & needed)
    return Cost(macs, elementwise, size(outputs[0]))


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


def _values(of_output: int = 0, of_input: int = 0, of_complex: int = 1) -> Rule:
    """Return the rule of an operator that costs so much per value of its output and its input.

    Where the output is complex, it costs ``of_complex`` times as much. Only the values of a network
    count: the tracer writes shape arithmetic alike.
    """

    def rule(inputs: Values, outputs: Values) -> Cost | None:
        value = outputs[0]
        dtype = (value.type().scalarType() or "") if value.isCompleteTensor() else ""
        if dtype not in {"Float", "Double", "Half", "BFloat16", "ComplexFloat", "ComplexDouble"}:
            return None
        operations = of_output * size(value) + (of_input and of_input * size(inputs[0]))
        return Cost(elementwise=operations * (of_complex if dtype.startswith("Complex") else 1))

    return rule


def _aten(names: str, rule: Rule) -> dict[str, Rule]:
    return {f"aten::{name}": rule for name in names.split()}


_ARITHMETIC = """
abs add_ clamp clamp_ clamp_max clamp_min cos div div_ elu elu_ erf exp gelu gelu_ hardsigmoid
hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ leaky_relu leaky_relu_ log log_sigmoid maximum
minimum mish mish_ neg pow reciprocal relu relu6 relu6_ relu_ rsqrt rsub sigmoid sigmoid_ silu silu_
sin softplus sqrt square sub_ tanh tanh_
"""

_REDUCTIONS = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d amax amin cumsum max
mean min prod sum
"""

# They move, choose or make data, or reckon with shapes.
_MOVEMENT = """
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

RULES: dict[str, Rule] = {
    **_aten("linear matmul mm bmm mv dot vdot", partial(_product, 0)),
    **_aten("addmm addmv baddbmm", partial(_product, 1)),  # the first input is what they add
    **_aten("einsum", _einsum),
    **_aten("_convolution _convolution_mode", _convolution),
    "torchvision::deform_conv2d": _deformed_convolution,
    **_aten("scaled_dot_product_attention", _attention),
    # Gates: 4 functions, 4 sums of both products. Cell: two products, a sum. Output: tanh, product.
    **_aten("lstm", partial(_recurrence, 4, 13)),
    # Gates: 3 functions, 3 sums of both products, one product. State: a sum of two products, 1 - z.
    **_aten("gru", partial(_recurrence, 3, 11)),
    **_aten("rnn_tanh rnn_relu", partial(_recurrence, 1, 2)),
    **_aten("fft_rfft fft_irfft fft_rfft2 fft_irfft2", _real_transform),
    **_aten("fft_fft fft_ifft fft_fft2 fft_ifft2", _complex_transform),
    **_aten("max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d", _pooling),
    # By convention, each arithmetic function is one operation, and a complex product six.
    **_aten(_ARITHMETIC, _values(1)),
    **_aten("add sub", _values(1, of_complex=2)),
    **_aten("mul mul_", _values(1, of_complex=6)),
    **_aten("addcmul addcmul_ prelu", _values(2)),
    **_aten("batch_norm", _values(2)),  # with fixed statistics: one scale, one offset
    **_aten("lerp", _values(3)),
    **_aten("rms_norm", _values(4)),  # square, average, divide by the root, scale
    **_aten("_weight_norm", _values(4)),  # square, sum, divide, multiply
    # Subtract the mean, divide by the deviation, scale, add; as fvcore.
    **_aten("group_norm instance_norm layer_norm", _values(5)),
    **_aten("softmax log_softmax", _values(SOFTMAX)),
    # 4 or 16 neighbours, each multiplied and added; antialiased: the same where it enlarges.
    **_aten("upsample_bilinear2d _upsample_bilinear2d_aa grid_sampler grid_sampler_2d", _values(8)),
    **_aten("upsample_bicubic2d _upsample_bicubic2d_aa", _values(32)),
    **_aten(_REDUCTIONS, _values(of_input=1)),
    **_aten("col2im", _values(of_input=1)),  # overlapping patches are added up
    **_aten("norm linalg_vector_norm", _values(of_input=2)),
    **_aten("var", _values(of_input=3)),
    **_aten("std", _values(of_input=4)),
    **_aten("logsumexp", _values(of_input=4)),  # maximum, subtract, exponential, sum
    **_aten(_MOVEMENT, lambda inputs, outputs: None),
}


def _counted(name: str, rule: Rule, inputs: Values, outputs: Values) -> Counter[str]:
    """Apply a rule; ``name`` is ``linear`` for ``aten::linear``."""
    cost = rule(inputs, outputs)
    if cost is None:
        return Counter()
    figures = {f"{figure}:{name}": value for figure, value in cost._asdict().items() if value}
    return Counter({**figures, f"calls:{name}": 1})


# fvcore's table.
HANDLES: dict[str, Handle] = {
    kind: partial(_counted, kind.partition("::")[2].strip("_"), rule)
    for kind, rule in RULES.items()
}
