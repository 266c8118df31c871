"""What every test of a measurement shares."""

import pytest
import torch

from tests.tiny import TINY


@pytest.fixture(scope="session")
def tiny():
    """The smallest model, as a fixture."""
    return TINY


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Spinning threads on a shared machine make tiny work slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
