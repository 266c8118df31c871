"""Specs of the comparison models, and ``timm:NAME``."""

import subprocess
import sys

import pytest

from s2mlp_cli.errors import SpecError
from s2mlp_cli.specs import GFNetSpec, TimmSpec, VipSpec, load_spec, names, with_input_size

PERMUTATORS = {
    "vip-small": ((7, 192, 4, 32), (2, 384, 14, 16)),
    "vip-medium": ((7, 256, 7, 32), (2, 512, 17, 16)),
    "vip-large": ((7, 256, 8, 32), (2, 512, 28, 16)),
    "vip-small-14": ((14, 384, 18, 16),),
    "vip-small-16": ((16, 336, 18, 14),),
}


@pytest.mark.parametrize(("name", "stages"), PERMUTATORS.items(), ids=PERMUTATORS)
def test_permutators(name, stages):
    spec = load_spec(name)
    assert isinstance(spec, VipSpec)
    assert tuple((s.patch, s.dim, s.depth, s.segments) for s in spec.stages) == stages
    assert {stage.expansion for stage in spec.stages} == {3}
    assert spec.maps() == tuple((s.segments, s.segments) for s in spec.stages)


def test_a_hierarchical_gfnet():
    spec = load_spec("gfnet-h-b")
    assert isinstance(spec, GFNetSpec)
    assert [(s.dim, s.depth) for s in spec.stages] == [(96, 3), (192, 3), (384, 27), (768, 3)]
    assert spec.layer_scale
    assert spec.filters() == ((56, 56), (28, 28), (14, 14), (7, 7))
    larger = with_input_size(spec, (448, 224))
    assert larger.maps()[0] == (112, 56)
    assert larger.filters() == spec.filters()


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        (
            "vip-small",
            ("input_size=112",),
            "input_size: found 112x112, 16x16 tokens in stage 0; allowed: "
            "224x224 only, since the weights of stage 0 are for a map of 32x32 tokens",
        ),
        (
            "vip-small",
            ("input_size=[224, 238]",),
            "input_size: found 224x238, 32x34 tokens in stage 0; "
            "allowed: 224x224 only, since the weights of stage 0 are for a map of 32x32 tokens",
        ),
        (
            "vip-small",
            ("input_size=225",),
            "input_size: found 225x225, which the patches of stage 0 do not "
            "divide; allowed: multiples of 14, such as 224x224",
        ),
        (
            "vip-small",
            ("stages.0.dim=200",),
            "stages.0.dim: found 200 channels for segments = 32; allowed: a multiple of 32",
        ),
        (
            "gfnet-s",
            ("native_size=100",),
            "native_size: found 100x100, which the patches of stage 0 do "
            "not divide; allowed: multiples of 16, such as 96x96",
        ),
    ],
)
def test_what_does_not_fit(name, overrides, sentence):
    with pytest.raises(SpecError) as caught:
        load_spec(name, overrides)
    assert str(caught.value) == f"--set {overrides[0]} for {name}: {sentence}"


def test_timm_without_a_file():
    spec = load_spec("timm:vit_base_patch16_384", ("classes=10",))
    assert isinstance(spec, TimmSpec)
    assert spec.name == "timm:vit_base_patch16_384[classes=10]"
    assert spec.timm == "vit_base_patch16_384"
    assert spec.title == "vit_base_patch16_384, changed: classes=10"
    assert (spec.input_size, spec.classes) == ((384, 384), 10)


def test_a_tag_names_weights_and_their_classes():
    spec = load_spec("timm:vit_base_patch16_224.augreg_in21k")
    assert (spec.classes, spec.input_size) == (21_843, (224, 224))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("timm:resnt18", r"has no model 'resnt18'; did you mean 'resnet18'\? timm.list_models"),
        ("timm:a/b.yaml", r"has no model 'a/b.yaml'; timm.list_models\(\) lists them"),
        ("timm:", "has no model ''"),
        (
            "timm:resnet50.a1_in1",
            r"no weights 'resnet50.a1_in1'; did you mean 'resnet50.a1_in1k'\? timm.list_pretrained",
        ),
    ],
)
def test_names_that_timm_does_not_know(name, pattern):
    with pytest.raises(SpecError, match=pattern):
        load_spec(name)


def test_no_built_in_spec_needs_timm_or_torch_to_load():
    code = (
        "import sys\nfrom s2mlp_cli.specs import load_spec, names\n"
        "for name in names(): load_spec(name)\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_comparison_models_are_there():
    assert {"mixer-b16", "resmlp-s24", "vit-b16", "ghostnet", "resnest50d"} <= set(names())
