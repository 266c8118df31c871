import pytest
import torch
from torch import nn

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.models import build_model, set_shift
from s2mlp_cli.models.layers import Affine, PatchLayer, SplitAttention
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.specs import Mixer, load_spec

TINY = ("input_size=32", "stages=[{patch: 4, dim: 8, depth: 2, expansion: 2}]", "classes=5")


@pytest.mark.parametrize("base", ["v1-wide", "v1-deep", "v2-small", "v2-sum-pooling"])
def test_logits_have_one_row_per_image_and_gradients_reach_every_weight(base):
    model = build_model(load_spec(base, TINY))
    logits = model(torch.randn(3, 3, 32, 32))
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("shift", ["slice", "roll", "conv", "deform", "concat", "gather", "oracle"])
def test_every_implementation_gives_the_same_logits(shift):
    torch.manual_seed(0)
    model = build_model(load_spec("v2-small", TINY))
    images = torch.randn(2, 3, 32, 32)
    expected = model(images)
    assert set_shift(model, shift) == 2
    assert torch.equal(model(images), expected)


@pytest.mark.parametrize("shift", registry.UNSAFE)
def test_the_unsafe_ones_give_others(shift):
    model = build_model(load_spec("v2-small", TINY))
    images = torch.randn(2, 3, 32, 32)
    expected = model(images)
    set_shift(model, shift)
    assert not torch.allclose(model(images), expected)


def test_any_size_that_the_patches_divide_will_do():
    model = build_model(load_spec("v1-wide", TINY))
    assert model(torch.randn(1, 3, 64, 16)).shape == (1, 5)


def test_v1_block_is_post_norm_and_v2_block_is_pre_norm():
    x = torch.randn(2, 4, 4, 8)
    for base, pre in (("v1-wide", False), ("v2-small", True)):
        block = build_model(load_spec(base, TINY)).get_submodule("stages.0.blocks.0")
        for norm in (block.norm1, block.norm2):
            nn.init.normal_(norm.weight)
        y = x + (block.mixer(block.norm1(x)) if pre else block.norm1(block.mixer(x)))
        z = y + (block.mlp(block.norm2(y)) if pre else block.norm2(block.mlp(y)))
        assert torch.equal(block(x), z)


def test_v1_mixer_is_fc_gelu_shift_fc():
    """S2-MLP v1, section 3.2, written out with the oracle."""
    mixer = build_model(load_spec("v1-wide", TINY)).get_submodule("stages.0.blocks.0.mixer")
    x = torch.randn(2, 5, 3, 8)
    hidden = nn.functional.gelu(x @ mixer.expand.weight.T + mixer.expand.bias)
    shifted = shift_oracle(hidden, ("right", "left", "down", "up"))
    expected = shifted @ mixer.project.weight.T + mixer.project.bias
    torch.testing.assert_close(mixer(x), expected)


def test_v2_mixer_is_split_attention_over_three_shifted_maps():
    """S2-MLPv2, section 3.1 and 3.2, written out with the oracle."""
    mixer = build_model(load_spec("v2-small", TINY)).get_submodule("stages.0.blocks.0.mixer")
    x = torch.randn(2, 5, 3, 8)
    first, second, third = (x @ mixer.expand.weight.T + mixer.expand.bias).split(8, dim=-1)
    maps = [
        shift_oracle(first, ("down", "up", "right", "left")),
        shift_oracle(second, ("right", "left", "down", "up")),
        third,
    ]
    total = sum(part.sum(dim=(1, 2)) for part in maps)
    hidden = nn.functional.gelu(total @ mixer.attention.reduce.weight.T)
    weights = (hidden @ mixer.attention.expand.weight.T).reshape(2, 3, 8).softmax(dim=1)
    fused = sum(weights[:, k, None, None] * maps[k] for k in range(3))
    torch.testing.assert_close(mixer(x), fused @ mixer.project.weight.T + mixer.project.bias)


def test_split_attention_weights_sum_to_one():
    attention = SplitAttention(8, maps=3, reduction=2, bias=True)
    weights = attention.weights(torch.randn(4, 8))
    assert weights.shape == (4, 3, 8)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4, 8))
    assert attention.reduce.bias is not None


def test_mean_fusion_is_the_sum_over_three():
    spec = Mixer(splits=((), (), ()), activation="none", fusion="mean")
    mixer = SpatialShiftMixer(8, spec, registry.get("slice"))
    x = torch.randn(1, 3, 3, 8)
    parts = mixer.expand(x).chunk(3, -1)
    torch.testing.assert_close(mixer(x), mixer.project((parts[0] + parts[1] + parts[2]) / 3))


def test_affine_scales_and_offsets_without_statistics():
    affine = Affine(4)
    with torch.no_grad():
        affine.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        affine.bias.fill_(0.5)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(affine(x), x * affine.weight + 0.5)


def test_patch_layer_is_a_fully_connected_layer_on_each_patch():
    layer = PatchLayer(3, 6, patch=2, norm=None)
    x = torch.randn(1, 4, 6, 3)
    patch = x[0, 2:4, 4:6]
    weight = layer.proj.weight.permute(0, 2, 3, 1).reshape(6, -1)
    torch.testing.assert_close(layer(x)[0, 1, 2], weight @ patch.reshape(-1) + layer.proj.bias)


def test_the_norms_that_the_spec_leaves_out_are_not_there():
    v1, v2 = (
        dict(build_model(load_spec(base, TINY)).named_parameters())
        for base in ("v1-wide", "v2-small")
    )
    assert "stages.0.patch.norm.weight" in v1
    assert "norm.weight" not in v1
    assert "stages.0.patch.norm.weight" not in v2
    assert "norm.weight" in v2


def test_an_unknown_shift_names_the_nearest():
    with pytest.raises(
        UnavailableError, match="no shift implementation 'cnov'; did you mean 'conv'?"
    ):
        build_model(load_spec("v2-small", TINY), shift="cnov")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("vip-small", 25_114_984),
        ("vip-medium", 55_272_488),
        ("vip-large", 87_784_936),
        ("vip-small-14", 29_892_904),
        ("vip-small-16", 23_023_552),
        ("gfnet-s", 24_869_608),
        ("gfnet-b", 43_120_616),
        ("gfnet-h-s", 32_162_632),
        ("gfnet-h-b", 53_744_200),
    ],
)
def test_parameters_of_the_comparison_models(name, params):
    """25M, 55M, 88M of ViP and 25M, 43M, 32M, 54M of GFNet are published."""
    model = build_model(load_spec(name), device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == params


def test_another_input_size_does_not_change_the_parameters_of_gfnet():
    own, larger = (
        build_model(load_spec("gfnet-s", overrides), device="meta")
        for overrides in ((), ("input_size=384",))
    )
    assert {name: each.shape for name, each in own.named_parameters()} == {
        name: each.shape for name, each in larger.named_parameters()
    }


SMALL_STAGES = {
    "v1-wide": TINY,
    "v2-small": (
        "input_size=32",
        "stages=[{patch: 4, dim: 8, depth: 2, expansion: 2},"
        " {patch: 2, dim: 16, depth: 1, expansion: 2}]",
    ),
    "vip-small": ("stages.0.depth=1", "stages.1.depth=1"),
    "gfnet-h-s": tuple(f"stages.{stage}.depth=1" for stage in range(4)),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("base", SMALL_STAGES)
def test_every_block_hands_on_a_contiguous_map(base, channels_last):
    """Another layout would be copied by each norm and mixed by each sum up to the next stage."""
    spec = load_spec(base, SMALL_STAGES[base])
    model, images = build_model(spec), torch.randn(2, 3, *spec.input_size)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    seen = []
    for stage in model.stages:
        for module in (stage.patch, *stage.blocks):
            module.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    with torch.no_grad():
        model(images)
    for given, out in seen[1:]:
        assert given.is_contiguous()
        assert out.is_contiguous()
    assert seen[0][1].is_contiguous()
