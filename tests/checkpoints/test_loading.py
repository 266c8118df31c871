"""The model is read off the tensors; third-party layouts load as they are and convert."""

import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from timm.models.vision_transformer import checkpoint_filter_fn

from s2mlp_cli.checkpoints.convert import convert
from s2mlp_cli.checkpoints.inference import infer
from s2mlp_cli.checkpoints.loading import SPEC_KEY, load_checkpoint
from s2mlp_cli.checkpoints.names import OURS
from s2mlp_cli.cli import group
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.models import build_model
from s2mlp_cli.specs import S2MLPSpec, load_spec, loading, names
from tests.checkpoints.jittor import ThirdParty
from tests.digits import save_safetensors, save_zip
from tests.tiny import TINY

V1 = {"version": 1, "patches": (4,), "dims": (16,), "depths": (3,), "expansion": 4, "classes": 7}
V2 = {"version": 2, "patches": (4, 2), "dims": (8, 16), "depths": (1, 2), "expansion": 3,
      "classes": 7}  # fmt: skip


def third_party(settings):
    torch.manual_seed(0)
    model = ThirdParty(**settings).eval()
    for parameter in model.parameters():  # norms and biases must matter too
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


OURS_BY_NAME = [
    name for name in names() if "depth-16" not in name and isinstance(load_spec(name), S2MLPSpec)
]


@pytest.mark.parametrize("name", OURS_BY_NAME)
def test_every_built_in_is_read_off_its_own_tensors(name):
    spec = load_spec(name)
    assert isinstance(spec, S2MLPSpec)
    state = build_model(spec, device="meta").state_dict()
    found = infer(state, OURS).spec
    for told in ("stages", "in_channels", "classes", "patch_norm", "head_norm"):
        assert getattr(found, told) == getattr(spec, told), told
    assert found.mixer.fusion == spec.mixer.fusion
    assert len(found.mixer.splits) == len(spec.mixer.splits)


@pytest.mark.parametrize("name", ["v1-deep", "v1-wide", "v2-small", "v2-medium", "v2-small-14"])
def test_a_main_variant_is_found_by_name_with_all_that_tensors_do_not_tell(name):
    spec = load_spec(name)
    inferred = infer(build_model(spec, device="meta").state_dict(), OURS)
    assert inferred.spec == spec
    assert inferred.nearest == name
    assert f"taken from {name}" in inferred.notes[0]


@pytest.mark.parametrize(
    ("name", "prefixes"), [("v1-wide", ("v1-directions-", "v1-input-")), ("v2-small", ())]
)
def test_other_built_ins_of_the_same_tensors_are_named(name, prefixes):
    told = infer(build_model(load_spec(name, ("classes=7",)), device="meta").state_dict(), OURS)
    assert (told.spec.name, told.spec.classes) == (name, 7)
    others = [other for other in names() if other.startswith(prefixes)] if prefixes else []
    assert list(told.notes[1:]) == [
        f"{', '.join(others)} have the same tensors; choose one with --model if needed"
    ] * bool(others)


def test_the_image_size_that_no_tensor_tells_is_stated_unless_it_is_given(tmp_path):
    save_zip(third_party(V2).state_dict(), tmp_path / "x.pth")
    assumed = load_checkpoint(tmp_path / "x.pth")
    assert assumed.spec.input_size == (224, 224)
    assert assumed.facts.stated[-1] == (
        "tensors do not contain the image size; 224x224 is assumed (set it with --input-size)"
    )
    given = load_checkpoint(tmp_path / "x.pth", input_size=(64, 48))
    assert given.spec.input_size == (64, 48)
    assert not any("image size" in sentence for sentence in given.facts.stated)


def test_a_checkpoint_with_its_own_spec_is_not_compared_with_the_built_in_ones(
    tmp_path, monkeypatch
):
    spec = load_spec("v2-small", ("name=mine", "stages.0.depth=1", "stages.1.depth=2"))
    save_zip(build_model(spec).state_dict(), tmp_path / "x")
    assert load_checkpoint(tmp_path / "x").facts.nearest == "v2-small"  # inferred
    convert(load_checkpoint(tmp_path / "x", spec), tmp_path / "ours")

    def untouched(*_):
        raise AssertionError("a built-in spec was read")

    monkeypatch.setattr(loading, "load_spec", untouched)
    for known in (None, spec):
        assert load_checkpoint(tmp_path / "ours", known).facts.nearest is None


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.empty(1000, device="meta"), "is a meta tensor in the checkpoint"),
        (
            torch.zeros(1000, dtype=torch.float8_e4m3fn),
            "head.bias is not plain .*torch.float8_e4m3fn",
        ),
        (torch.zeros(1000, dtype=torch.int8), "not plain .*torch.int8"),
        (torch.zeros(1000).to_sparse(), "not plain floating-point weights .*sparse_coo"),
        (torch.full((1000,), torch.inf), "has NaN or infinite weights in head.bias"),
    ],
)
def test_tensors_that_are_not_plain_numbers_are_refused(tensor, message, tmp_path):
    state = dict(build_model(load_spec("v1-depth-1")).state_dict())
    save_zip({**state, "head.bias": tensor}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("stages.0.blocks.9999.x", torch.ones(1), "has no block stages.0.blocks.1, but later"),
        ("stages.9999.x", torch.ones(1), "stages.1.patch.proj.weight is missing"),
        ("stages.0.patch.proj.weight", torch.ones(0, 3, 16, 16), "describe no valid S2-MLP"),
        ("stages.0.blocks.0.mixer.attention.reduce.weight", torch.ones(0, 5), "not an S2-MLP"),
        ("stages.0.blocks.0.mixer.attention.reduce.weight", torch.ones(5), "1 axes instead of 2"),
    ],
)
def test_tensors_that_describe_nonsense(name, tensor, message, tmp_path):
    state = dict(build_model(load_spec("v1-depth-1")).state_dict())
    save_zip({**state, name: tensor}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x")


def test_timms_weights_serve_at_another_size_where_timm_interpolates(tmp_path):
    """The same logits as timm itself gives for the same weights at that size."""
    torch.manual_seed(0)
    native = timm.create_model("test_vit").eval()
    save_zip(native.state_dict(), tmp_path / "x.pth")
    loaded = load_checkpoint(tmp_path / "x.pth", load_spec("timm:test_vit"), input_size=(192, 160))
    assert loaded.facts.stated == (
        "the position embeddings were interpolated from 160x160 to 192x160, as timm does it",
    )
    other = timm.create_model("test_vit", img_size=(192, 160)).eval()
    other.load_state_dict(checkpoint_filter_fn(native.state_dict(), other))
    images = torch.randn(2, 3, 192, 160)
    with torch.inference_mode():
        assert torch.equal(loaded.build("slice", "cpu")(images), other(images))


def test_weights_that_were_tuned_at_another_size_need_only_that_size(tmp_path):
    tuned = timm.create_model("test_vit", img_size=192)
    save_zip(tuned.state_dict(), tmp_path / "x.pth")
    spec = load_spec("timm:test_vit")
    loaded = load_checkpoint(tmp_path / "x.pth", spec, input_size=(192, 192))
    assert loaded.facts.stated == ()
    assert torch.equal(loaded.state["pos_embed"], tuned.pos_embed)
    with pytest.raises(CheckpointError, match=r"does not fit .*pos_embed: 1x145x64 instead of 1x"):
        load_checkpoint(tmp_path / "x.pth", spec)


@pytest.mark.parametrize("settings", [V1, V2], ids=["v1", "v2"])
def test_a_third_party_checkpoint_loads_as_it_is(settings, tmp_path):
    model = third_party(settings)
    save_zip({"model": model.state_dict()}, tmp_path / "x.pth")
    loaded = load_checkpoint(tmp_path / "x.pth")
    assert loaded.facts.layout == "Jittor-MLP"
    assert "taken from the Jittor-MLP code" in loaded.facts.stated[0]
    images = torch.randn(2, 3, 32, 24)
    with torch.inference_mode():
        ours = loaded.build("slice", "cpu")(images)
        torch.testing.assert_close(ours, model(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [V1, V2], ids=["v1", "v2"])
def test_convert_keeps_the_logits_and_writes_the_spec(settings, tmp_path):
    model = third_party(settings).to(memory_format=torch.channels_last)
    save_zip({"state_dict": model.state_dict()}, tmp_path / "x.pth")
    output = tmp_path / "ours.safetensors"
    done = CliRunner().invoke(
        group, ["convert", "--ckpt", str(tmp_path / "x.pth"), "-o", str(output)],
        catch_exceptions=False, standalone_mode=False,
    )  # fmt: skip
    assert done.stdout.startswith(f"{output}: ")
    assert "logits differ by at most 0" in done.stdout
    before, after = load_checkpoint(tmp_path / "x.pth"), load_checkpoint(output)
    assert after.spec == before.spec
    assert after.facts.layout == "s2mlp"
    assert after.facts.stated == ()  # nothing had to be assumed
    images = torch.randn(2, 3, *after.spec.input_size)
    with torch.inference_mode():
        torch.testing.assert_close(
            after.build("slice", "cpu")(images), model(images), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "x.pth"), "'x.pth' should end with .safetensors"),
        (("-o", "x.safetensors", "--set", "classes=2"), "--set changes a spec"),
    ],
)
def test_convert_refuses_what_it_cannot_write_or_would_ignore(arguments, sentence):
    done = CliRunner().invoke(group, ["convert", "--ckpt", "x.pth", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_misfit_names_the_differences_and_the_five_nearest(tmp_path):
    state = build_model(load_spec("v1-depth-1")).state_dict()
    del state["head.bias"]
    state["extra"] = torch.ones(2)
    state["head.weight"] = torch.ones(5, 768)
    save_safetensors(state, tmp_path / "x")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "x", load_spec("v1-depth-1"))
    text = str(caught.value)
    assert (
        "does not fit v1-depth-1: 1 missing (first head.bias), 1 unexpected (first extra), " in text
    )
    assert "1 with another shape (first head.weight: 5x768 instead of 1000x768)" in text
    assert text.partition("nearest: ")[2].count(",") == 4
    assert text.partition("nearest: ")[2].startswith("v1-depth-1,")


def test_a_misfit_that_is_near_no_built_in_names_none(tmp_path):
    state = dict(build_model(TINY).state_dict())
    del state["head.bias"]
    save_safetensors(state, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"head.bias.; check --model and the checkpoint$"):
        load_checkpoint(tmp_path / "x", TINY)


def test_tensors_of_no_known_model_are_named(tmp_path):
    save_safetensors({"conv1.weight": torch.ones(4, 3, 7, 7)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"no known model .*'conv1.weight'\); choose its"):
        load_checkpoint(tmp_path / "x")


def test_a_block_that_is_missing_in_between(tmp_path):
    state = build_model(load_spec("v1-depth-3")).state_dict()
    state = {name: tensor for name, tensor in state.items() if ".blocks.1." not in name}
    save_safetensors(state, tmp_path / "x")
    with pytest.raises(CheckpointError, match="has no block stages.0.blocks.1, but later ones"):
        load_checkpoint(tmp_path / "x")


@pytest.mark.parametrize(
    "text", ["[" * 99_999, '{"family": ["vip"]}', "{}", "null", '{"family": "vip"}']
)
def test_an_invalid_spec_in_the_metadata_is_named(text, tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "x", {SPEC_KEY: text})
    with pytest.raises(CheckpointError, match="spec in its metadata is not valid; name the mod"):
        load_checkpoint(tmp_path / "x")
