"""A model so small that whole profiles take a moment."""

import pytest
import torch

from s2mlp_cli.spec import S2MLPSpec


@pytest.fixture(scope="session")
def tiny():
    """Two stages with maps of 6x6 and 3x3: large enough for `inplace` to come out wrong."""
    return S2MLPSpec.model_validate(
        {
            "name": "tiny",
            "family": "s2mlp",
            "input_size": (24, 24),
            "classes": 5,
            "stages": [
                {"patch": 4, "dim": 8, "depth": 1, "expansion": 2},
                {"patch": 2, "dim": 16, "depth": 2, "expansion": 2},
            ],
            "norm": {"kind": "layer", "place": "pre"},
            "patch_norm": False,
            "head_norm": True,
            "mixer": {
                "splits": [("down", "up", "right", "left"), ("right", "left", "down", "up"), ()],
                "activation": "none",
                "fusion": "split-attention",
            },
        }
    )


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Spinning threads on a shared machine make tiny work slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
