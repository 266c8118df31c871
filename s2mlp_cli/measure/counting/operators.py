"""How every operator of a traced graph is counted: one small rule per operator, in tables.

A rule takes the operator's graph values and returns its figures: multiply-accumulates (MACs) for
linear layers, convolutions and matrix products; operations on single values for everything else.
An operator that only moves data or does arithmetic on shapes counts nothing. An operator that no
table names is reported as uncounted.

The values are fvcore's handles (``inputs, outputs -> Counter``); the keys of the counters are
``figure:operator``, so that one trace yields all the figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from s2mlp_cli.measure.counting import rules
from s2mlp_cli.measure.counting.rules import Rule, Values, size

FIGURES = ("macs", "elementwise", "activations", "calls")

Handle = Callable[[Values, Values], "Counter[str]"]


# Operators counted in multiply-accumulates.
PRODUCTS: dict[str, Rule] = {
    "aten::linear": rules.linear,
    "aten::matmul": rules.linear,  # the output's size has any broadcast batch in it
    "aten::mm": rules.linear,
    "aten::bmm": rules.linear,
    "aten::mv": rules.linear,
    "aten::addmm": rules.added_product,
    "aten::baddbmm": rules.added_product,
    "aten::einsum": rules.einsum,
    "aten::_convolution": rules.convolution,
    "aten::_convolution_mode": rules.plain_convolution,  # padding="same"
    "aten::lstm": rules.recurrence,
    "torchvision::deform_conv2d": rules.deformed_convolution,
}

# Operators counted in operations on single values, by a rule of their own.
OPERATIONS: dict[str, Rule] = {
    "aten::fft_rfft2": rules.real_transform,
    "aten::fft_irfft2": rules.real_transform,
    "aten::max_pool2d": rules.pooling,
    "aten::avg_pool1d": rules.pooling,
    "aten::avg_pool2d": rules.pooling,
}

_ONE_EACH = """
abs add add_ clamp clamp_ clamp_max clamp_min cos div div_ elu elu_ erf exp gelu gelu_ hardsigmoid
hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ leaky_relu leaky_relu_ log maximum minimum
mish mish_ mul mul_ neg pow reciprocal relu relu6 relu6_ relu_ rsqrt rsub sigmoid sigmoid_ silu
silu_ sin softplus sqrt square sub sub_ tanh tanh_
"""
# Operations per value of the output, by convention: one for each arithmetic function.
PER_OUTPUT: dict[str, int] = dict.fromkeys((f"aten::{name}" for name in _ONE_EACH.split()), 1) | {
    "aten::addcmul": 2,
    "aten::addcmul_": 2,
    "aten::batch_norm": 2,  # with fixed statistics: one scale, one offset
    "aten::group_norm": 5,
    "aten::layer_norm": 5,  # subtract the mean, divide by the deviation, scale, add; as fvcore
    "aten::log_softmax": 5,
    "aten::rms_norm": 4,  # square, average, divide by the root, scale
    "aten::softmax": 5,  # maximum, subtract, exponential, sum, divide
    "aten::prelu": 2,
    "aten::upsample_bilinear2d": 8,  # four neighbours, each multiplied and added
    "aten::upsample_bicubic2d": 32,  # sixteen neighbours
    "aten::_upsample_bicubic2d_aa": 32,  # the same where it enlarges
}

# Operations per value of the input: reductions.
PER_INPUT: dict[str, int] = {
    "aten::adaptive_avg_pool2d": 1,
    "aten::adaptive_max_pool2d": 1,
    "aten::amax": 1,
    "aten::col2im": 1,  # overlapping patches are added up
    "aten::cumsum": 1,
    "aten::linalg_vector_norm": 2,
    "aten::mean": 1,
    "aten::std": 4,
    "aten::sum": 1,
    "aten::var": 3,
}

# Real operations per value where the values are complex; any other operator: as if real.
COMPLEX: dict[str, int] = {"aten::mul": 6, "aten::mul_": 6, "aten::add": 2, "aten::sub": 2}

_MOVING = """
__and__ alias arange bitwise_not broadcast_to cat ceil channel_shuffle chunk clone constant_pad_nd
contiguous copy_ detach dropout dropout_ empty empty_like empty_strided eq expand expand_as eye
feature_dropout fill_ flatten flip floor_divide full full_like gather ge gt im2col index index_put_
index_select Int le lift_fresh lt masked_fill masked_fill_ meshgrid movedim narrow ne new_empty
new_full new_zeros numel one_hot ones ones_like pad permute pixel_shuffle pixel_unshuffle
reflection_pad2d remainder repeat repeat_interleave replication_pad2d reshape reshape_as
resolve_conj roll ScalarImplicit select size slice split split_with_sizes squeeze stack swapaxes t
tile to transpose type_as unbind unflatten unfold unsqueeze upsample_nearest2d view view_as
view_as_complex view_as_real where zero_ zeros zeros_like
"""
# Operators that move, choose or make data, or reckon with shapes: nothing to count.
MOVEMENT = tuple(f"aten::{name}" for name in _MOVING.split())


def handles() -> dict[str, Handle]:
    """Return fvcore's table: one handle per operator that any of the tables names."""
    table = {kind: _product(kind, rule) for kind, rule in PRODUCTS.items()}
    table |= {kind: _operations(kind, rule) for kind, rule in OPERATIONS.items()}
    table |= {kind: _elementwise(kind, 0, cost) for kind, cost in PER_OUTPUT.items()}
    table |= {kind: _elementwise(kind, cost, 0) for kind, cost in PER_INPUT.items()}
    table["aten::scaled_dot_product_attention"] = _attention
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


def _operations(kind: str, rule: Rule) -> Handle:
    name = _name(kind)

    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        return Counter({f"elementwise:{name}": rule(inputs, outputs), f"calls:{name}": 1})

    return handle


def _attention(inputs: Values, outputs: Values) -> Counter[str]:
    """Count a fused attention as its two products, the scaling of Q and the softmax between."""
    name, scores = "scaled_dot_product_attention", rules.attention_scores(inputs)
    return Counter(
        {
            f"macs:{name}": rules.attention(inputs, outputs),
            f"elementwise:{name}": size(inputs[0]) + PER_OUTPUT["aten::softmax"] * scores,
            f"activations:{name}": scores + size(outputs[0]),
            f"calls:{name}": 1,
        }
    )


def _elementwise(kind: str, per_input: int, per_output: int) -> Handle:
    name = _name(kind)

    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        if not _holds_floats(outputs[0]):
            return Counter()
        operations = (per_input and per_input * size(inputs[0])) + per_output * size(outputs[0])
        if _dtype(outputs[0]).startswith("Complex"):
            operations *= COMPLEX.get(kind, 1)
        return Counter({f"elementwise:{name}": operations, f"calls:{name}": 1})

    return handle


def _nothing(inputs: Values, outputs: Values) -> Counter[str]:
    return Counter()


def _holds_floats(value: Any) -> bool:
    """Tell values of the network from shape arithmetic, which the tracer writes as tensors."""
    return _dtype(value) in {"Float", "Double", "Half", "BFloat16", "ComplexFloat", "ComplexDouble"}


def _dtype(value: Any) -> str:
    return (value.type().scalarType() or "") if value.isCompleteTensor() else ""


def _name(kind: str) -> str:
    """Return ``linear`` for ``aten::linear``, ``convolution`` for ``aten::_convolution``."""
    return kind.partition("::")[2].strip("_")
