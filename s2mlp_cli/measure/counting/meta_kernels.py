"""Shape functions that the meta device borrows while a model is counted.

Two faults of the meta device make counting on it impossible or slow, and both end with this:

Convolutions cannot be traced there. The tracer records ``aten::_convolution``, which only the
kernels of real devices call; on the meta device ``aten::convolution`` ends in a Python function
that runs while tracing is still on, sees traced sizes instead of numbers, and fails ("cond must
be a bool"). Here the meta device does what the real ones do.

The common operators go through a tower of Python that re-derives strides and types, and imports
the whole compiler (1.6 s) on its first use. Counting needs shapes, and these few lines give them.
An operator that is not in the table keeps its own kernel. Should one of these shapes ever be
wrong, the closed form and the tests against torch's own kernels would differ.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _check(fits: bool, what: str, *tensors: Tensor) -> None:
    """Refuse what torch's own kernels refuse: a model that cannot run has no count."""
    if not fits:
        shapes = " and ".join("x".join(map(str, each.shape)) for each in tensors)
        raise RuntimeError(f"{what}: {shapes}")


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    stride, padding, dilation, transposed, output_padding, groups = settings[:6]
    spatial = []
    for axis, size in enumerate(x.shape[2:]):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        if transposed:
            grown = (size - 1) * stride[axis] - 2 * padding[axis] + reach
            spatial.append(grown + output_padding[axis] + 1)
        else:
            spatial.append((size + 2 * padding[axis] - reach - 1) // stride[axis] + 1)
    met, channels = weight.shape[1] * groups, weight.shape[0]
    if transposed:
        met, channels = channels, met
    fits = x.shape[1] == met and weight.shape[0] % groups == 0
    _check(bool(fits), "a convolution does not fit its input", weight, x)
    _check(all(size > 0 for size in spatial), "a kernel is larger than its input", weight, x)
    return x.new_empty([x.shape[0], channels, *spatial])


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    for normed in (x[(0,) * (x.dim() - len(shape))], weight, bias):
        if normed is not None:
            _check(list(normed.shape) == list(shape), f"a norm over {list(shape)}", normed)
    outer = [*x.shape[: x.dim() - len(shape)], *(1 for _ in shape)]
    return x.new_empty(x.shape), x.new_empty(outer), x.new_empty(outer)


def _product(x: Tensor, y: Tensor) -> Tensor:
    _check(bool(x.shape[1] == y.shape[0]), "matrices that do not multiply", x, y)
    return x.new_empty([x.shape[0], y.shape[1]])


def _same(x: Tensor, *settings: Any, **named: Any) -> Tensor:
    return x.new_empty(x.shape)


def _broadcast(x: Tensor, y: Any, **scales: Any) -> Tensor:
    other = y.shape if isinstance(y, Tensor) else ()
    # torch's own function imports sympy, a sixth of the whole command's time.
    return x.new_empty(np.broadcast_shapes(x.shape, other), dtype=torch.result_type(x, y))


def _axis(x: Tensor, axis: int) -> int:
    axes = max(x.dim(), 1)
    if not -axes <= axis < axes:
        raise IndexError(f"there is no axis {axis} in a tensor of {x.dim()}")
    return axis % axes


def _reduced(
    x: Tensor,
    axes: Sequence[int] | None,
    keepdim: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    reduced = {_axis(x, axis) for axis in (axes or range(x.dim()))}
    kept = [
        1 if axis in reduced else size
        for axis, size in enumerate(x.shape)
        if keepdim or axis not in reduced
    ]
    return x.new_empty(kept, dtype=dtype)


def _stack(parts: Sequence[Tensor], axis: int = 0) -> Tensor:
    shape = list(parts[0].shape)
    _check(all(list(each.shape) == shape for each in parts), "a stack of different shapes", *parts)
    shape.insert(axis % (len(shape) + 1), len(parts))
    return parts[0].new_empty(shape)


# aten operator -> its shape function.
KERNELS: dict[str, Callable[..., Any]] = {
    "convolution": lambda *given: torch.ops.aten._convolution(*given, False, False, False, False),
    "_convolution": _convolution,
    "native_layer_norm": _layer_norm,
    "native_batch_norm": lambda x, *given: (x.new_empty(x.shape), x.new_empty(0), x.new_empty(0)),
    "upsample_bicubic2d": lambda x, size, *given: x.new_empty([*x.shape[:2], *size]),
    "mm": _product,
    "addmm": lambda bias, x, y, **scales: _broadcast(_product(x, y), bias),
    "clone": _same,
    "gelu": _same,
    "_softmax": lambda x, axis, *given: _same(x, _axis(x, axis)),
    "add.Tensor": _broadcast,
    "mul.Tensor": _broadcast,
    "addcmul": lambda *three, **scales: three[0].new_empty(
        np.broadcast_shapes(*(x.shape for x in three))
    ),
    "mean.dim": _reduced,
    "sum.dim_IntList": _reduced,
    "stack": _stack,
}


@contextlib.contextmanager
def meta_kernels() -> Iterator[None]:
    """Lend the meta device the kernels of :data:`KERNELS` for as long as the context lasts."""
    library: Any = torch.library.Library  # its methods carry no types
    lent = library("aten", "IMPL")
    try:
        for name, kernel in KERNELS.items():
            lent.impl(name, kernel, "Meta", allow_override=True)
        yield
    finally:
        lent._destroy()
