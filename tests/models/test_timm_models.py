"""timm's models by name: the same as timm's, at sizes that their architecture can take."""

import pytest
import timm
import torch

from s2mlp_cli.errors import SpecError, UnavailableError
from s2mlp_cli.models import build_model, classifiers, default_preprocessing, set_shift
from s2mlp_cli.models.timm_models import timm_preprocessing
from s2mlp_cli.specs import TimmSpec, load_spec, with_input_size


def spec_of(name, size=224, **fields):
    return TimmSpec(name=name, timm=name, input_size=(size, size), **fields)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet50", "vit-b16", "mixer-b16", "gmlp-s", "ghostnet"])
def test_parameters_are_timms(name):
    spec = load_spec(name)
    with torch.device("meta"):
        expected = timm.create_model(spec.timm)
    assert parameters(build_model(spec, device="meta")) == parameters(expected)


def test_logits_of_a_small_one_and_no_shift_to_set():
    model = build_model(spec_of("resnet10t", 64, classes=7))
    assert not model.training
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 7)
    assert set_shift(model, "roll") == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet50", ("fc",)), ("swin-b", ("head.fc",)), ("efficientnet-b3", ("classifier",)),
     ("vip-small", ("head",)), ("v2-small", ("head",)), ("timm:deit_tiny_distilled_patch16_224",
     ("head", "head_dist"))],
)  # fmt: skip
def test_classifiers_are_found_by_name(name, expected):
    model = build_model(load_spec(name), device="meta")
    assert classifiers(model) == expected
    for part in expected:
        assert isinstance(model.get_submodule(part), torch.nn.Linear)


def test_a_classifier_that_timm_names_but_does_not_build_is_left_out():
    model = build_model(load_spec("resnet50"), device="meta")
    model.pretrained_cfg["classifier"] = ("fc", "no_such_part")
    assert classifiers(model) == ("fc",)


def test_a_convolutional_network_takes_any_size():
    model = build_model(with_input_size(load_spec("resnet50"), (96, 160)), device="meta")
    assert model(torch.empty(1, 3, 96, 160, device="meta")).shape == (1, 1000)


def test_position_embeddings_are_made_for_the_size():
    spec = with_input_size(load_spec("timm:vit_tiny_patch16_224"), (112, 112))
    model = build_model(spec, device="meta")
    assert model.pos_embed.shape == (1, 7 * 7 + 1, 192)
    assert model(torch.empty(1, 3, 112, 112, device="meta")).shape == (1, 1000)


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        (
            "mixer-b16",
            112,
            "mixer-b16 at 112x112: supports 224x224 only, because its layer blocks.0.mlp_tokens.fc1 "
            "joins the tokens by weights of 384x196, which would have to be 384x49",
        ),
        (
            "resmlp-s24",
            384,
            "resmlp-s24 at 384x384: supports 224x224 only, because its layer blocks.0.linear_tokens "
            "joins the tokens by weights of 196x196, which would have to be 576x576",
        ),
        (
            "vit-b16",
            225,
            "vit-b16 at 225x225: supports only multiples of its patch size, 16x16; its native "
            "size is 224x224",
        ),
    ],
)
def test_sizes_that_an_architecture_cannot_take(name, size, sentence):
    with pytest.raises(SpecError) as caught:
        build_model(with_input_size(load_spec(name), (size, size)), device="meta")
    assert str(caught.value) == sentence


def test_timms_own_objection_becomes_a_sentence():
    with pytest.raises(
        SpecError,
        match="nest-b at 225x225: timm cannot build it: AssertionError: `patch_size` must",
    ):
        build_model(with_input_size(load_spec("nest-b"), (225, 225)), device="meta")


def test_preprocessing_is_timms_for_its_models_and_the_papers_for_ours():
    mixer = default_preprocessing(load_spec("mixer-b16"))
    assert (mixer.mean, mixer.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (mixer.crop_pct, mixer.interpolation) == (0.875, "bicubic")
    ours = default_preprocessing(load_spec("v2-small"))
    assert (ours.mean, ours.crop_pct) == ((0.485, 0.456, 0.406), 0.9)


def test_a_crop_that_belongs_to_the_test_size_is_taken_at_that_size_only():
    config = timm.get_pretrained_cfg("resnet50")
    assert config.test_input_size is not None
    at_own = timm_preprocessing(spec_of("resnet50", config.input_size[1]))
    at_test = timm_preprocessing(spec_of("resnet50", config.test_input_size[1]))
    assert at_own.crop_pct == config.crop_pct
    assert at_test.crop_pct == config.test_crop_pct


def test_a_kind_of_crop_that_is_not_known_is_not_passed_over():
    squashed = next(
        name
        for name in timm.list_pretrained("convnext*")
        if timm.get_pretrained_cfg(name).crop_mode == "squash"
    )
    with pytest.raises(UnavailableError, match="crop mode 'squash'"):
        timm_preprocessing(spec_of(squashed))
