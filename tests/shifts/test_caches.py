"""What an implementation keeps between calls must not depend on who called first."""

import pytest
import torch
from mixers import ALL, FIRST, forget_tables

from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import Mixer

MIXER = Mixer.model_validate(
    {
        "splits": (FIRST, ALL, ()),
        "activation": "none",
        "fusion": "split-attention",
        "reduction": 4,
    }
)
TRAINED = [name for name in registry.NAMES if getattr(registry.get(name), "trains", True)]


def mixer_with(name, device):
    implementation = registry.get(name)
    if name == "deform" and (reason := implementation.unavailable(device)):
        pytest.skip(reason)
    torch.manual_seed(0)
    return SpatialShiftMixer(16, MIXER, implementation).to(device).eval()


@pytest.mark.parametrize("name", registry.NAMES)
def test_evaluation_is_the_same_with_and_without_gradients(name, device):
    mixer, x = mixer_with(name, device), torch.randn(1, 3, 2, 16, device=device)
    plain = mixer(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(mixer(x), plain)
    torch.testing.assert_close(mixer.requires_grad_(False)(x), plain)


@pytest.mark.parametrize("name", TRAINED)
def test_a_first_call_in_inference_mode_does_not_stop_training(name, device):
    """All but `fused-project`, which has no gradient."""
    mixer, x = mixer_with(name, device), torch.randn(1, 3, 2, 16, device=device)
    forget_tables()
    with torch.inference_mode():
        first = mixer(x)
    trained = mixer(x)
    trained.sum().backward()
    torch.testing.assert_close(trained, first.clone())
    assert all(parameter.grad is not None for parameter in mixer.parameters())


@pytest.mark.parametrize("name", ["oracle", "slice", "roll", "conv", "gather", "inplace"])
def test_an_empty_batch_stays_empty(name):
    shifted = registry.get(name).run(torch.empty(0, 3, 2, 8), FIRST)
    assert shifted.shape == (0, 3, 2, 8)
