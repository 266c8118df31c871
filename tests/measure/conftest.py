"""What every test of a measurement shares."""

import pytest

from s2mlp_cli.cores import threads
from tests.tiny import TINY


@pytest.fixture(scope="session")
def tiny():
    """The smallest model, as a fixture."""
    return TINY


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Spinning threads on a shared machine make tiny work slow."""
    with threads(1):
        yield
