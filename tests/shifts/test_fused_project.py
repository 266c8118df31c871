import pytest
import torch
import triton
from mixers import (
    ALL,
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
from s2mlp_cli.shifts import fused_project, registry
from s2mlp_cli.shifts.fused_project import _projected, mix_fused_project, shared_bytes
from s2mlp_cli.shifts.fused_triton import expanded
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.specs import load_spec

KERNELS = ("fused", "fused-triton", "fused-project")

pytestmark = pytest.mark.usefixtures("no_grad")


@pytest.fixture
def no_grad():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["v2", "mixed counts"])
def test_equals_the_definition(size, name, device):
    mixer = make_mixer(24, SPLITS[name], device=device)
    x = torch.randn(1 + (size < (14, 14)), *size, 24, device=device)
    assert relative_error(mix_fused_project(x, mixer), mix_by_definition(x, mixer)) < 2e-6


@pytest.mark.parametrize("channels", [1, 7, 40])
@pytest.mark.parametrize("fusion", ["split-attention", "mean"])
def test_odd_channel_counts(channels, fusion, device):
    mixer = make_mixer(channels, ((), ("left",), ("up-right",)), fusion, device=device)
    x = torch.randn(2, 4, 3, channels, device=device)
    for laid_out in layouts(x).values():
        assert (
            relative_error(mix_fused_project(laid_out, mixer), mix_by_definition(x, mixer)) < 2e-6
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("directions", [(), ("left",), ("down", "right"), FIRST, ALL], ids=len)
def test_v1_shifts_inside_the_second_product(size, directions, device):
    mixer = make_mixer(24, (directions,), "none", nn.GELU(), device=device)
    x = torch.randn(1, *size, 24, device=device)
    hidden = nn.functional.gelu(mixer.expand(x))
    expected = mixer.project(shift_oracle(hidden, directions))
    assert relative_error(mix_fused_project(x, mixer), expected) < 2e-6


def test_v1_without_activation_or_biases(device):
    mixer = make_mixer(8, (FIRST,), "none", device=device)
    mixer.expand.bias = mixer.project.bias = None
    x = torch.randn(1, 3, 4, 8, device=device)
    expected = mixer.project(shift_oracle(mixer.expand(x), FIRST))
    assert relative_error(mix_fused_project(x, mixer), expected) < 2e-6


def test_a_gelu_between_expansion_and_attention(device):
    mixer = make_mixer(24, SPLITS["mixed counts"], activation=nn.GELU(), device=device)
    x = torch.randn(1, 5, 3, 24, device=device)
    assert relative_error(mix_fused_project(x, mixer), mix_by_definition(x, mixer)) < 2e-6


def test_every_element_is_written(device, monkeypatch):
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: real(*a, **k).fill_(torch.nan))
    for size in SIZES[:4]:
        x = torch.randn(1, *size, 24, device=device)
        assert mix_fused_project(x, make_mixer(24, V2, device=device)).isfinite().all(), size
        v1 = make_mixer(24, (ALL,), "none", nn.GELU(), device=device)
        assert mix_fused_project(x, v1).isfinite().all(), size


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_summed_in_float32(dtype, device):
    mixer = make_mixer(32, V2, device=device)
    x = torch.randn(2, 7, 5, 32, device=device)
    exact = mix_by_definition(x, mixer)
    for layer in (mixer.expand, mixer.project, mixer.attention.reduce, mixer.attention.expand):
        layer.to(dtype)
    half = mix_fused_project(x.to(dtype), mixer)
    assert half.dtype == dtype
    assert relative_error(half, exact) < 6 * torch.finfo(dtype).eps


def test_an_image_does_not_depend_on_its_batch(device):
    mixer = make_mixer(16, V2, device=device)
    x = torch.randn(3, 6, 5, 16, device=device)
    y, weights, start = (part.contiguous() for part in expanded(x, mixer))
    together = _projected(y, mixer.project, V2, weights, start)
    for image in range(3):
        one = slice(image, image + 1)
        alone = _projected(y[one], mixer.project, V2, weights[one], start[one])
        assert torch.equal(alone, together[one])


def test_a_tile_that_does_not_fit_the_card_is_not_offered(monkeypatch):
    y = torch.empty(1, 2, 2, 192, dtype=torch.bfloat16)
    tiles = [
        triton.Config({"BLOCK_M": m, "BLOCK_N": n}, num_warps=8, num_stages=3)
        for m, n in ((64, 256), (128, 64), (64, 64))
    ]
    # What the compiler takes for these on sm_90, in KiB.
    assert [shared_bytes(tile, 64, 3, 2) // 1024 for tile in tiles] == [146, 122, 74]
    for kib, kept in ((227, 3), (145, 2), (99, 1), (64, 0)):
        monkeypatch.setattr(fused_project, "shared_memory", lambda device, kib=kib: kib * 1024)
        assert len(fused_project._fitting(tiles, {"y": y}, BLOCK_K=64, SPLITS=3)) == kept


def test_the_tuner_measures_again_for_another_batch_precision_and_card():
    key = set(fused_project._projected_kernel.keys)
    assert {"rows", "PRECISION", "CARD", "SPLITS", "GELU"} <= key


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
    for kernel in ("fused-triton", "fused-project"):
        assert set_shift(model, kernel) > 0
        assert relative_error(model(images), logits) < 1e-5, kernel
    model, images = model.bfloat16(), images.bfloat16()
    set_shift(model, "slice")
    sliced = model(images)
    for kernel in ("fused-triton", "fused-project"):
        set_shift(model, kernel)
        half = model(images)
        assert relative_error(half, sliced) < 2e-2, kernel
        assert half.argmax(1).tolist() == sliced.argmax(1).tolist()


def test_what_it_cannot_do_is_refused(device):
    x = torch.randn(1, 2, 2, 8, device=device)
    with pytest.raises(UnavailableError, match="not float64"):
        mix_fused_project(x.double(), make_mixer(8, V2, device=device))
    with pytest.raises(UnavailableError, match="no GELU approximated by tanh"):
        mix_fused_project(x, make_mixer(8, (FIRST,), "none", nn.GELU("tanh"), device=device))


def test_only_who_trains_is_told_that_it_has_no_gradient(device):
    x, mixer = torch.randn(1, 2, 2, 8, device=device), make_mixer(8, V2, device=device)
    with torch.enable_grad():
        mixed = mix_fused_project(x, mixer)
        with pytest.raises(UnavailableError, match=r"no gradient; train with --shift fused"):
            mixed.sum().backward()


def test_autocast_chooses_the_type(device):
    mixer = make_mixer(16, V2, device=device)
    x = torch.randn(1, 3, 4, 16, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        assert mix_fused_project(x, mixer).dtype == torch.bfloat16


def test_it_is_a_member_of_the_registry():
    with pytest.raises(UnavailableError, match="'fused-gemm' was removed; use 'fused-project'"):
        registry.get("fused-gemm")
    implementation = registry.get("fused-project")
    assert implementation.name == "fused-project"
    assert not implementation.trains


def test_the_work_of_each_implementation():
    def maps(name, splits, fusion):
        return registry.get(name).work(splits, fusion).maps

    assert [maps(name, V2, "split-attention") for name in KERNELS] == [5, 5, 3]
    assert [maps(name, V2, "mean") for name in KERNELS] == [4, 4, 2]
    assert [maps(name, (FIRST,), "none") for name in KERNELS] == [2, 2, 0]
    assert maps("triton", V2, "split-attention") == 4
    assert registry.get("fused").work(V2, "split-attention").products == 9
    assert registry.get("fused").work((ALL, ()), "split-attention").products == 8
