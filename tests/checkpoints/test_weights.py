"""The weights are found in what trainers wrap around them, and nothing is left out in silence."""

import itertools
import random

import pytest
import torch

from s2mlp_cli.checkpoints.loading import load_checkpoint
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.models import build_model
from tests.checkpoints.jittor import ThirdParty
from tests.digits import save_zip
from tests.tiny import TINY

STATE = build_model(TINY).state_dict()
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}
WORDS = (
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module",
    "net", "model", "student",
)  # fmt: skip


def prefixed(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def inside(words, state=STATE):
    """Put words at a random place behind the first word of each name."""
    order = random.Random(0)
    found = {}
    for name, tensor in state.items():
        parts = name.split(".")
        at = order.randint(1, len(parts))
        found[".".join((*parts[:at], *words, *parts[at:]))] = tensor
    return found


@pytest.fixture
def loaded(tmp_path):
    """Return a function that saves what it is given and loads it."""

    def load(content, spec=TINY, **how):
        save_zip(content, tmp_path / "x.pth")
        return load_checkpoint(tmp_path / "x.pth", spec, **how)

    return load


def holds(checkpoint, state=STATE):
    """Check that the weights are these; return what is known of the file."""
    assert checkpoint.state.keys() == state.keys()
    assert all(torch.equal(checkpoint.state[name], tensor) for name, tensor in state.items())
    return checkpoint.facts


@pytest.mark.parametrize("spec", [TINY, None], ids=["known", "inferred"])
@pytest.mark.parametrize("words", [*((word,) for word in WORDS), *itertools.permutations(WORDS, 2)])
def test_words_of_wrappers_are_understood_wherever_they_are(words, spec, loaded):
    holds(loaded(prefixed(".".join((*words, ""))), spec))
    holds(loaded(inside(words), spec))
    mixed = prefixed(f"{words[0]}.", inside(words[1:]))
    holds(loaded(mixed, spec))


def test_a_third_party_name_keeps_the_words_that_it_has_itself(loaded):
    torch.manual_seed(0)
    model = ThirdParty(2, (4, 2), (8, 16), (1, 2), 3, 7).eval()
    plain = loaded(model.state_dict(), None)
    for words in itertools.permutations(("model", "module", "_orig_mod"), 2):
        state = prefixed(".".join((*words, "")), inside(words[:1], model.state_dict()))
        wrapped = loaded(state, None)
        holds(wrapped, plain.state)
        assert wrapped.facts.layout == "Jittor-MLP"


def test_what_was_cut_is_said(loaded):
    state = prefixed("module.", inside(("_checkpoint_wrapped_module",)))
    assert loaded({"model": state}).facts.taken == (
        "'model', without the prefix 'module.', without '_checkpoint_wrapped_module.' inside names"
    )
    apart = {f"backbone.{n}" if n.startswith("stages") else n: t for n, t in STATE.items()}
    found = holds(loaded(apart))
    assert found.taken == "the state dict itself, without the prefix 'backbone.'"


def test_any_prefix_is_cut_if_what_carries_it_fits(loaded):
    beside = {"image.normalise.mean": torch.ones(3), "text.head.weight": torch.ones(7, 2)}
    found = holds(loaded({**prefixed("image.tower.x."), **beside}))
    assert "without the prefix 'image.tower.x.'" in found.taken
    assert found.stated == (
        "left out 2 tensors that are not part of the model (first 'image.normalise.mean')",
    )


@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_the_model_does_not_have_beside_its_own_tensors_is_refused(prefix, loaded):
    state = prefixed(prefix, {**STATE, "extra.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"1 unexpected .first (model.)?extra.weight"):
        loaded(state)


def test_helper_tensors_are_dropped_and_noted(loaded):
    one = torch.zeros(1, dtype=torch.float64)
    helpers = {name.rpartition(".")[0] + ".total_ops": one for name in STATE}
    more = dict.fromkeys(
        ("total_params", "criterion.pos_weight", "train_acc.correct", "steps"), one
    )
    found = holds(loaded({"state_dict": {**STATE, **helpers, **more}}))
    number = len(helpers) + len(more)
    assert found.stated[0].startswith(f"left out {number} tensors that are not part")


def test_averages_in_the_same_state_dict_are_found_by_ema(loaded):
    counter = {"model_ema.num_updates": torch.tensor(3), "model_ema.decay": torch.tensor(0.9)}
    flat = {"ema_" + name.replace(".", "_"): tensor for name, tensor in OTHER.items()}
    dotless = {"model_ema." + name.replace(".", ""): tensor for name, tensor in OTHER.items()}
    for averages in (prefixed("ema.module.", OTHER), prefixed("model.teacher.", OTHER), flat,
                     {**dotless, **counter}):  # fmt: skip
        for own in ("", "student.", "model."):
            content = {"state_dict": {**prefixed(own), **averages}}
            holds(loaded(content, averaged=True), OTHER)
            plain = holds(loaded(content))
            assert "averaged ones are in" in plain.taken
            assert plain.taken.endswith("(--ema)")


def test_an_average_of_which_a_part_is_missing_is_not_mixed_with_the_weights(loaded):
    flat = {"ema_" + name.replace(".", "_"): tensor for name, tensor in OTHER.items()}
    flat.pop("ema_head_weight")
    with pytest.raises(CheckpointError, match="has no averaged weights"):
        loaded({**STATE, **flat}, averaged=True)


def test_a_state_dict_of_torchs_averaged_model_is_an_average(loaded):
    content = {**prefixed("module."), "n_averaged": torch.tensor(9)}
    holds(loaded(content, averaged=True))
    holds(loaded({"model_ema": prefixed("_orig_mod.", content)}, averaged=True))


def test_the_only_unknown_key_that_leads_to_tensors_is_taken(loaded):
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}, "extra": {"momentum": torch.ones(3)}}
    content = {
        "params": STATE, "optimizer": optimizer, "epoch": 3, "rng_state": torch.ones(5),
        "lr_scheduler": {"x": torch.ones(3)},
    }  # fmt: skip
    found = holds(loaded(content))
    assert found.taken == "'params'"


def test_of_several_keys_the_user_chooses(loaded):
    content = {"generator": OTHER, "critic": STATE, "epoch": 3}
    with pytest.raises(CheckpointError) as caught:
        loaded(content)
    assert str(caught.value).endswith(
        "the checkpoint has weights under 2 keys (generator, critic); choose one, such as "
        "--weights generator"
    )
    found = holds(loaded(content, weights="critic"))
    assert found.taken == "'critic'"
    holds(loaded({"a": {"b": {"state_dict": STATE}, "c": OTHER}}, weights="a.b"))
    holds(loaded({"state_dict": content}, weights="critic"))
    with pytest.raises(CheckpointError, match="under 'x'; choose --weights from generator, critic"):
        loaded(content, weights="x")
    with pytest.raises(CheckpointError, match=r"no weights under 'x' \(its keys: .*; choose anoth"):
        loaded({"net": STATE}, weights="x")


def test_of_several_models_in_one_state_dict_the_user_chooses(loaded):
    content = {**prefixed("online.encoder."), **prefixed("target.module.encoder.", OTHER)}
    with pytest.raises(CheckpointError, match=r"2 keys \(online.encoder, target.encoder\); choose"):
        loaded(content)
    holds(loaded(content, weights="target.encoder"), OTHER)
    holds(loaded(content, weights="online"))


def test_the_plain_copy_goes_before_prefixed_ones_which_are_told(loaded):
    found = holds(loaded({**STATE, **prefixed("frozen.", OTHER)}))
    assert found.stated == (
        "the weights under 'frozen' were left out; --weights frozen takes them",
    )
    holds(loaded({**STATE, **prefixed("frozen.", OTHER)}, weights="frozen"), OTHER)


def test_placeholders_of_zero_3_say_what_they_are(loaded):
    empty = {name: t if t.dim() == 1 else torch.empty(0) for name, t in STATE.items()}
    with pytest.raises(CheckpointError, match=r"tensors are empty .*ZeRO-3 .* zero_to_fp32.py"):
        loaded({"module": empty})


def test_arrays_of_numpy_are_weights(loaded):
    content = {"model": {name: tensor.numpy() for name, tensor in STATE.items()}}
    holds(loaded(content))
    content["model"]["head.bias"] = content["model"]["head.bias"].astype(">f8")
    assert loaded(content).state["head.bias"].dtype == torch.float64


@pytest.mark.parametrize("state", ["ema_state_dict", "average_model_state"])
def test_averages_in_the_callbacks_of_lightning_are_found_by_ema(state, loaded):
    callbacks = {"EMA{'decay': 0.999}": {state: OTHER, "updates": 3}, "Bar": {}}
    content = {"state_dict": STATE, "callbacks": callbacks}
    holds(loaded(content, averaged=True), OTHER)
    plain = holds(loaded(content))
    where = f"callbacks.EMA{{'decay': 0.999}}.{state}"
    assert plain.taken == f"'state_dict'; averaged ones are in '{where}' (--ema)"
    holds(loaded(content, weights=where), OTHER)


def test_lightnings_weight_averaging_says_which_weights_are_averaged(loaded):
    content = {
        "state_dict": STATE,
        "current_model_state": OTHER,
        "averaging_state": {"n_averaged": torch.tensor(3)},
    }
    holds(loaded(content, averaged=True))
    plain = holds(loaded(content))
    assert "these are averaged, the others are in 'current_model_state'" in plain.taken
    holds(loaded(content, weights="current_model_state"), OTHER)


def test_averages_without_names_are_refused_as_what_they_are(loaded):
    content = {"model": STATE, "ema": {"shadow_params": list(OTHER.values())}}
    with pytest.raises(
        CheckpointError, match=r"in 'ema.shadow_params' are a list of tensors witho"
    ):
        loaded(content, averaged=True)
    holds(loaded(content))


def test_in_a_list_of_state_dicts_the_number_is_the_key(loaded):
    holds(loaded([STATE]))
    content = {"models": [OTHER, STATE], "optimizers": [{"state": {}}]}
    with pytest.raises(CheckpointError, match=r"under 2 keys \(0, 1\); choose one"):
        loaded(content)
    holds(loaded(content, weights="models.1"))
    holds(loaded(content, weights="0"), OTHER)


def test_flat_parameters_of_fsdp_say_what_they_are(loaded):
    flat = {
        "_flat_param": torch.ones(9),
        "_fsdp_wrapped_module.stages.0._flat_param": torch.ones(9),
    }
    for spec in (TINY, None):
        with pytest.raises(
            CheckpointError, match=r"2 of its 2 tensors are flat parameters of FSDP"
        ):
            loaded({"model": flat}, spec)


def test_averaged_weights_inside_chosen_ones_are_found(loaded):
    content = {"generator": {"model": STATE, "ema": OTHER}, "critic": {"model": OTHER}}
    holds(loaded(content, weights="generator", averaged=True), OTHER)
    holds(loaded(content, weights="generator"))
