"""Checkpoints of the comparison models: recognised by all their tensors."""

import pytest
import torch
from safetensors.torch import save_file

from s2mlp_cli.checkpoints.fit import check_fit, fitting_model, shapes_of
from s2mlp_cli.checkpoints.loading import load_checkpoint
from s2mlp_cli.checkpoints.names import Expected
from s2mlp_cli.checkpoints.weights import take_weights
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.specs import load_spec


def state_of(name, device="meta"):
    shapes = shapes_of(load_spec(name))
    return {key: torch.zeros(shape, device=device) for key, shape in shapes.items()}


@pytest.mark.parametrize("name", ["mixer-b16", "vip-small-16", "gfnet-h-s"])
def test_a_comparison_model_is_known_by_its_tensors(name):
    state = state_of(name)
    assert fitting_model(state) == load_spec(name)


def test_from_a_file(tmp_path):
    save_file(state_of("ghostnet", "cpu"), tmp_path / "weights.safetensors")
    checkpoint = load_checkpoint(tmp_path / "weights.safetensors")
    assert checkpoint.spec == load_spec("ghostnet")
    assert checkpoint.facts.layout == "ghostnet"


def test_words_of_wrappers_are_understood_in_names_of_every_model():
    state = state_of("mixer-b16")
    wrapped = {
        "module.net." + name.replace("blocks.", "blocks._checkpoint_wrapped_module."): tensor
        for name, tensor in state.items()
    }
    for content in (wrapped, {**wrapped, "net.total_ops": torch.zeros(1)}):
        found = take_weights(content, [Expected("", [shapes_of(load_spec("mixer-b16"))])])
        assert found.state.keys() == state.keys()
    models = [shapes_of(load_spec(name)) for name in ("gfnet-h-s", "mixer-b16", "vip-small-16")]
    assert fitting_model(take_weights(wrapped, [Expected("", models)]).state).name == "mixer-b16"


def test_two_models_of_the_same_tensors_are_for_the_user_to_tell():
    """ViT and DeiT are one architecture, but their images are normalised differently."""
    with pytest.raises(CheckpointError) as caught:
        fitting_model(state_of("vit-b16"))
    assert str(caught.value) == (
        "the checkpoint matches deit-b16 and vit-b16; choose one with --model"
    )


def test_one_tensor_too_many_and_it_fits_none():
    state = {**state_of("ghostnet"), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="compared with ghostnet: 1 unexpected .first extra"):
        fitting_model(state)


def with_classes(state, head, classes):
    return {
        name: torch.zeros((classes, *tensor.shape[1:])) if name.startswith(head) else tensor
        for name, tensor in state.items()
    }


def test_another_number_of_classes_says_what_to_set():
    state = with_classes(state_of("mixer-b16"), "head.", 10)
    with pytest.raises(CheckpointError) as caught:
        check_fit(state, load_spec("mixer-b16"))
    assert str(caught.value) == (
        "the checkpoint does not fit mixer-b16: 2 with another shape (first head.weight: 10x768 "
        "instead of 1000x768); it was trained for 10 classes, so add --set classes=10"
    )
    check_fit(state, load_spec("mixer-b16", ("classes=10",)))
    with pytest.raises(CheckpointError, match="use --model mixer-b16 --set classes=10$"):
        fitting_model(state)


def test_where_more_than_the_classifier_differs_the_classes_are_not_blamed():
    state = with_classes(state_of("mixer-b16"), "head.", 10)
    state["norm.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match="nearest: mixer-b16"):
        check_fit(state, load_spec("mixer-b16"))
