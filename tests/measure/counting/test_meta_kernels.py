"""The borrowed shape functions against torch's own kernels, on real tensors."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli.measure.counting.counters import traced_figures
from s2mlp_cli.measure.counting.meta_kernels import KERNELS, meta_kernels


def shapes_agree(function, *tensors):
    expected = function(*tensors)
    with meta_kernels():
        found = function(*(tensor.to("meta") for tensor in tensors))
    assert found.is_meta
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


CASES = {
    "linear": (lambda x, w, b: F.linear(x, w, b), [(2, 5, 4), (3, 4), (3,)]),
    "mm": (torch.mm, [(5, 4), (4, 3)]),
    "layer_norm": (lambda x: F.layer_norm(x, (4,)), [(2, 3, 4)]),
    "layer_norm over two axes": (lambda x: F.layer_norm(x, (3, 4)), [(2, 3, 4)]),
    "batch_norm": (lambda x, m, v: F.batch_norm(x, m, v.abs()), [(2, 3, 4, 4), (3,), (3,)]),
    "bicubic": (
        lambda x: F.interpolate(x, (7, 3), mode="bicubic", align_corners=True),
        [(1, 2, 4, 5)],
    ),
    "addcmul": (torch.addcmul, [(3,), (3,), (2, 1, 3)]),
    "clone": (torch.clone, [(2, 3)]),
    "gelu": (F.gelu, [(2, 3)]),
    "softmax": (lambda x: x.softmax(dim=1), [(2, 3, 4)]),
    "add": (torch.add, [(2, 1, 4), (3, 1)]),
    "add with alpha": (lambda x, y: torch.add(x, y, alpha=2), [(2, 4), (4,)]),
    "add a number": (lambda x: x + 1, [(2, 3)]),
    "mul": (torch.mul, [(1, 3), (2, 1)]),
    "mul by a number": (lambda x: x * 2.0, [(2, 3)]),
    "mean": (lambda x: x.mean(dim=(1, 2)), [(2, 3, 4, 5)]),
    "sum": (lambda x: x.sum(dim=(1, 2, 3)), [(2, 3, 4, 5)]),
    "sum keeps": (lambda x: x.sum(dim=(1,), keepdim=True), [(2, 3)]),
    "sum in another dtype": (lambda x: x.sum(dim=(1,), dtype=torch.float64), [(2, 3)]),
    "mean keeps": (lambda x: x.mean(dim=-1, keepdim=True), [(2, 3)]),
    "stack": (lambda x, y: torch.stack([x, y], dim=1), [(2, 3), (2, 3)]),
    "stack last": (lambda x, y: torch.stack([x, y], dim=-1), [(2, 3), (2, 3)]),
}


@pytest.mark.parametrize(("function", "shapes"), CASES.values(), ids=CASES)
def test_shapes(function, shapes):
    shapes_agree(function, *(torch.randn(shape) for shape in shapes))


REFUSED = {
    "channels": (F.conv2d, [(1, 4, 8, 8), (2, 3, 3, 3)]),
    "groups of channels": (lambda x, w: F.conv2d(x, w, groups=2), [(1, 4, 8, 8), (3, 2, 3, 3)]),
    "channels, transposed": (F.conv_transpose2d, [(1, 4, 8, 8), (3, 2, 3, 3)]),
    "a kernel beyond its input": (F.conv2d, [(1, 3, 2, 2), (2, 3, 3, 3)]),
    "mm": (torch.mm, [(2, 3), (4, 5)]),
    "linear": (F.linear, [(2, 2, 3), (5, 4)]),
    "a bias": (F.linear, [(2, 3), (5, 3), (4,)]),
    "layer_norm": (lambda x: F.layer_norm(x, (5,)), [(2, 4)]),
    "the weight of a norm": (lambda x, w: F.layer_norm(x, (4,), w), [(2, 4), (5,)]),
    "batch_norm": (F.batch_norm, [(2, 3, 4, 4), (4,), (4,)]),
    "stack": (lambda x, y: torch.stack([x, y]), [(2, 3), (2, 4)]),
    "add": (torch.add, [(3,), (4,)]),
    "addcmul": (torch.addcmul, [(3,), (4,), (3,)]),
    "an axis of a mean": (lambda x: x.mean(dim=3), [(2, 6, 3)]),
    "an axis of a softmax": (lambda x: x.softmax(dim=-4), [(2, 6, 3)]),
}


@pytest.mark.parametrize(("function", "shapes"), REFUSED.values(), ids=REFUSED)
def test_what_torch_refuses_is_refused(function, shapes):
    for device in ("cpu", "meta"):
        with meta_kernels(), pytest.raises((RuntimeError, IndexError, ValueError)):
            function(*(torch.zeros(shape, device=device) for shape in shapes))


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2),
    st.sampled_from([1, 2]), st.booleans(),
)  # fmt: skip
def test_convolutions(kernel, stride, padding, dilation, groups, transposed):
    x = torch.randn(2, 4, 9, 8)
    if transposed:
        weight = torch.randn(4, 6 // groups, kernel, kernel)
        shapes_agree(
            lambda x, w: F.conv_transpose2d(
                x, w, stride=stride, padding=min(padding, dilation * (kernel - 1)),
                dilation=dilation, groups=groups,
            ),
            x, weight,
        )  # fmt: skip
    else:
        weight = torch.randn(6, 4 // groups, kernel, kernel)
        shapes_agree(
            lambda x, w: F.conv2d(
                x, w, stride=stride, padding=padding, dilation=dilation, groups=groups
            ),
            x, weight,
        )  # fmt: skip


def test_the_kernels_go_back_when_the_context_ends():
    weight = torch.empty(2, 3, 2, 2, device="meta")
    with meta_kernels():
        pass
    assert F.conv2d(torch.empty(1, 3, 4, 4, device="meta"), weight).shape == (1, 2, 3, 3)
    with pytest.raises(TypeError, match="cond must be a bool"):
        traced_figures(torch.nn.Conv2d(3, 2, 2, device="meta"), torch.empty(1, 3, 4, 4).to("meta"))


def test_every_kernel_is_tested():
    tested = {"convolution", "_convolution", "native_layer_norm", "mm", "addmm", "gelu", "_softmax",
              "addcmul", "clone", "native_batch_norm", "upsample_bicubic2d", "add.Tensor",
              "mul.Tensor", "mean.dim", "sum.dim_IntList", "stack"}  # fmt: skip
    assert set(KERNELS) == tested


def test_counting_this_projects_models_imports_no_symbolic_algebra():
    program = (
        "import sys; from s2mlp_cli.measure.counting.count import count\n"
        "from s2mlp_cli.specs import load_spec\n"
        "for name in ('v1-deep', 'v1-wide', 'v2-medium'): count(load_spec(name))\n"
        "sys.exit('sympy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
