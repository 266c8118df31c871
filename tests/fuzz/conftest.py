"""What all fuzz tests share: a folder of their own, and a stderr that pytest does not capture."""

import os
from pathlib import Path
from unittest import mock

import pytest
import torch

from s2mlp_cli.sample import CHECKPOINT
from tests.command_line import invoke
from tests.fuzz import budget, law


def pytest_collection_modifyitems(config, items):
    """Give each test pytest's own time limit as often as it tries its number of files."""
    seconds = float(config.getini("timeout")) * budget.TIMES
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(seconds))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder; each example writes over the files of the one before."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(autouse=True)
def _beside(place, monkeypatch):
    """Run the commands where the files are."""
    monkeypatch.chdir(place)


@pytest.fixture(scope="package", autouse=True)
def _few_models():
    """Compare a checkpoint that fits nothing with some models only: to build all takes seconds."""
    some = ("v1-wide", "v2-small", "v1-depth-1", "gfnet-s")
    with (
        mock.patch("s2mlp_cli.checkpoints.fit.names", return_value=some),
        mock.patch("s2mlp_cli.checkpoints.loading.names", return_value=some),
        mock.patch("s2mlp_cli.checkpoints.inference.names", return_value=some),
    ):
        yield


@pytest.fixture(scope="package", autouse=True)
def _imported(_few_models, tmp_path_factory):
    """Import once what the commands need: on a busy machine that alone takes seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small products only wait for each other's threads
    output = tmp_path_factory.mktemp("whole") / "out"
    with law.watchdog(200):
        invoke("validate", "--ckpt", "sample", "--workers", "0", "--transform", "timm")
        invoke("count", "--model", "v1-depth-1", "-o", f"{output}.json")
        invoke("convert", "--ckpt", CHECKPOINT, "-o", f"{output}.safetensors")
        invoke("report", f"{output}.json", "-o", f"{output}.html")
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package", autouse=True)
def _backstop(pytestconfig):
    """Let the watchdog's last words reach the terminal: the process ends with them."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        stream = os.fdopen(os.dup(2), "w")
    before, law.backstop = law.backstop, stream
    yield
    law.backstop = before
    stream.close()
