import pytest
import torch
from mixers import (
    ALL,
    FIRST,
    SPLITS,
    V2,
    make_mixer,
    mix_by_definition,
    relative_error,
    weights_of,
)
from torch import nn

from s2mlp_cli.shifts import registry, triton_support
from s2mlp_cli.shifts.fused import form, mix_fused


@pytest.mark.parametrize("activation", [nn.GELU("tanh"), nn.ReLU(), nn.Identity()])
@pytest.mark.parametrize("directions", [(), ("left",), FIRST, ALL], ids=len)
def test_a_single_split_is_shifted_and_activated(activation, directions):
    mixer = make_mixer(8, (directions,), "none", activation)
    x = torch.randn(2, 5, 3, 8)
    with torch.no_grad():
        assert relative_error(mix_fused(x, mixer), mix_by_definition(x, mixer)) < 2e-6


@pytest.mark.parametrize(
    ("fusion", "splits", "activation"),
    [
        ("split-attention", V2, nn.Identity()),
        ("split-attention", SPLITS["mixed counts"], nn.GELU()),
        ("mean", (ALL, ()), nn.Identity()),
        ("none", (FIRST,), nn.GELU()),
        ("none", (ALL,), nn.ReLU()),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 2)])
def test_gradients_of_the_whole_mixer(fusion, splits, activation, size):
    mixer = make_mixer(8, splits, fusion, activation, dtype=torch.float64)
    x = torch.randn(2, *size, 8, dtype=torch.float64, requires_grad=True)
    inputs = [x, *weights_of(mixer)]
    grads = torch.randn(2, *size, 8, dtype=torch.float64)
    expected = torch.autograd.grad((mix_by_definition(x, mixer) * grads).sum(), inputs)
    found = torch.autograd.grad((mix_fused(x, mixer) * grads).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.autograd.gradcheck(lambda x: mix_fused(x, mixer), (x,), fast_mode=True)


def test_an_image_does_not_depend_on_its_batch():
    mixer = make_mixer(16, V2)
    x = torch.randn(4, 6, 5, 16)
    with torch.no_grad():
        together = mix_fused(x, mixer)
        for image in range(4):
            alone = mix_fused(x[image : image + 1], mixer)[0]
            assert relative_error(alone, together[image]) < 1e-6


def test_it_compiles():
    mixer = make_mixer(8, (("down", "right"), ()))
    compiled = torch.compile(lambda x: mix_fused(x, mixer), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 4, 4, 8, requires_grad=True)
    eager = mix_fused(x, mixer)
    torch.testing.assert_close(compiled(x), eager)
    (expected,) = torch.autograd.grad(eager.square().sum(), x)
    (found,) = torch.autograd.grad(compiled(x).square().sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("device", "dtype", "recorded", "expected"),
    [
        ("cpu", torch.float32, False, "slices"),
        ("cpu", torch.bfloat16, True, "functional"),
        ("cuda", torch.bfloat16, False, "Triton"),
        ("cuda", torch.float32, False, "Triton"),
        ("cuda", torch.float64, False, "slices"),
        ("cuda", torch.float32, True, "functional"),
    ],
)
def test_the_form_follows_from_where_it_runs(device, dtype, recorded, expected, monkeypatch):
    monkeypatch.setattr(triton_support, "unavailable", lambda device: None)
    assert form(torch.device(device), dtype, recorded) == expected


def test_without_triton_a_gpu_runs_the_form_of_slices(monkeypatch):
    monkeypatch.setattr(triton_support, "unavailable", lambda device: "not installed")
    assert form(torch.device("cuda"), torch.float32, recorded=False) == "slices"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_reach_the_sums_and_the_attention(dtype):
    """The sum of 200 x 200 twos is over what float16 holds."""
    mixer = make_mixer(8, V2)
    with torch.no_grad():
        mixer.expand.weight.zero_()
        mixer.expand.bias.fill_(2)
        for layer in (mixer.attention.reduce, mixer.attention.expand):
            layer.weight.mul_(1e-6)
        x = torch.randn(1, 200, 200, 8)
        with torch.autocast("cpu", dtype=dtype):
            mixed = mix_fused(x, mixer)
        assert mixed.isfinite().all()
        assert relative_error(mixed, mix_by_definition(x, mixer)) < 8 * torch.finfo(dtype).eps


def test_products_are_what_is_left_without_shift_and_fusion():
    mixer, x = make_mixer(8, V2), torch.randn(2, 3, 4, 8)
    with torch.no_grad():
        floor = registry.get("products").run(x, mixer)
        torch.testing.assert_close(floor, mixer.project(mixer.expand(x)[..., :8]))
    assert "products" not in registry.parse("all")
