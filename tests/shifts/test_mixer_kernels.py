"""What every kernel for a whole mixer has to do; what is one kernel's own has a file of its own."""

import pytest
import torch
from mixers import (
    ALL,
    CASES,
    FIRST,
    SIZES,
    SPLITS,
    V2,
    layouts,
    make_mixer,
    mix_by_definition,
    relative_error,
)
from torch import nn

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.models import build_model, set_shift
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import load_spec

pytestmark = pytest.mark.usefixtures("no_grad")

TRITON = ("fused-triton", "fused-project")
KERNELS = ("fused", *TRITON)
FUSIONS = ("split-attention", "mean")


@pytest.fixture
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def mix(kernel):
    return registry.get(kernel).run


def is_right(mix, x, mixer, laid_out=None):
    found = mix(x if laid_out is None else laid_out, mixer)
    return relative_error(found, mix_by_definition(x, mixer)) < 2e-6


@pytest.mark.parametrize(
    ("kernel", "size", "name", "fusion"),
    [
        *(("fused", *case, fusion) for case in CASES for fusion in FUSIONS),
        *(
            (kernel, size, name, "split-attention")
            for kernel in TRITON
            for size in SIZES
            for name in ("v2", "mixed counts")
        ),
    ],
)
def test_equals_the_definition(mix, size, name, fusion, device):
    mixer = make_mixer(24, SPLITS[name], fusion, device=device)
    assert is_right(mix, torch.randn(1 + (size < (14, 14)), *size, 24, device=device), mixer)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("channels", [1, 7, 40])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_odd_channel_counts_and_memory_formats(mix, channels, fusion, device):
    mixer = make_mixer(channels, ((), ("left",), ("up-right",)), fusion, device=device)
    x = torch.randn(2, 4, 3, channels, device=device)
    for label, laid_out in layouts(x).items():
        assert is_right(mix, x, mixer, laid_out), label


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("directions", [(), ("left",), ("down", "right"), FIRST, ALL], ids=len)
def test_v1_shifts_what_a_gelu_returns(mix, size, directions, device):
    mixer = make_mixer(24, (directions,), "none", nn.GELU(), device=device)
    assert is_right(mix, torch.randn(1, *size, 24, device=device), mixer)


@pytest.mark.parametrize("kernel", KERNELS)
def test_v1_without_activation_or_biases(mix, device):
    mixer = make_mixer(8, (FIRST,), "none", device=device)
    mixer.expand.bias = mixer.project.bias = None
    x = torch.randn(1, 3, 4, 8, device=device)
    for label, laid_out in layouts(x).items():
        assert is_right(mix, x, mixer, laid_out), label


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_activation_before_the_attention_takes_its_sums_from_the_map(mix, device):
    mixer = make_mixer(24, SPLITS["mixed counts"], activation=nn.GELU(), device=device)
    assert is_right(mix, torch.randn(1, 5, 3, 24, device=device), mixer)


@pytest.mark.parametrize("kernel", TRITON)
@pytest.mark.parametrize("case", ["v2", "diagonals", "v1"])
def test_every_element_is_written(mix, case, device, monkeypatch):
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: real(*a, **k).fill_(torch.nan))
    kind = ((ALL,), "none", nn.GELU()) if case == "v1" else (SPLITS[case],)
    mixer = make_mixer(24, *kind, device=device)
    for size in SIZES[:4]:
        assert mix(torch.randn(1, *size, 24, device=device), mixer).isfinite().all(), size


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(mix, dtype, device):
    mixer = make_mixer(32, V2, device=device)
    x = torch.randn(2, 7, 5, 32, device=device)
    exact = mix_by_definition(x, mixer)
    for layer in (mixer.expand, mixer.project, mixer.attention.reduce, mixer.attention.expand):
        layer.to(dtype)
    half = mix(x.to(dtype), mixer)
    assert half.dtype == dtype
    assert relative_error(half, exact) < 6 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", ["v2-small", "v1-deep"])
def test_the_whole_model_equals_the_model_of_slices(name, device, monkeypatch):
    if device.type == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    overrides = {
        "v2-small": ("input_size=28", "stages.0.depth=1", "stages.1.depth=1", "stages.0.dim=32",
                     "stages.1.dim=64", "classes=10"),
        "v1-deep": ("input_size=64", "stages.0.depth=1", "stages.0.dim=64", "classes=10"),
    }  # fmt: skip
    torch.manual_seed(0)
    spec = load_spec(name, overrides[name])
    model = build_model(spec, device=device)
    for parameter in model.parameters():  # spread the logits
        parameter.mul_(2 if parameter.ndim > 1 else 1)
    images = 4 * torch.randn(2, 3, *spec.input_size, device=device)
    logits = model(images)
    for kernel in KERNELS:
        assert set_shift(model, kernel) > 0
        assert relative_error(model(images), logits) < 1e-5, kernel
    model, images = model.bfloat16(), images.bfloat16()
    set_shift(model, "slice")
    sliced = model(images)
    for kernel in KERNELS:
        set_shift(model, kernel)
        half = model(images)
        assert relative_error(half, sliced) < 2e-2, kernel
        assert half.argmax(1).tolist() == sliced.argmax(1).tolist()


@pytest.mark.parametrize("kernel", TRITON)
def test_what_it_cannot_do_is_refused(mix, device):
    x = torch.randn(1, 2, 2, 8, device=device)
    with pytest.raises(UnavailableError, match="not float64"):
        mix(x.double(), make_mixer(8, V2, device=device))
    with pytest.raises(UnavailableError, match="no GELU approximated by tanh"):
        mix(x, make_mixer(8, (FIRST,), "none", nn.GELU("tanh"), device=device))


def test_all_has_the_kernels_and_an_old_name_says_which_replaced_it():
    assert set(KERNELS) < set(registry.parse("all"))
    assert [registry.get(name).trains for name in KERNELS] == [True, True, False]
    with pytest.raises(UnavailableError, match="'fused-gemm' was removed; use 'fused-project'"):
        registry.get("fused-gemm")


def test_the_work_of_each_implementation():
    def maps(name, splits, fusion):
        return registry.get(name).work(splits, fusion).maps

    assert [maps(name, V2, "split-attention") for name in KERNELS] == [5, 5, 3]
    assert [maps(name, V2, "mean") for name in KERNELS] == [4, 4, 2]
    assert [maps(name, (FIRST,), "none") for name in KERNELS] == [2, 2, 0]
    assert maps("triton", V2, "split-attention") == 4
    assert registry.get("fused").work(V2, "split-attention").products == 9
    assert registry.get("fused").work((ALL, ()), "split-attention").products == 8
