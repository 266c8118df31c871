"""Lets the tests of this folder import the mixers beside them, and runs kernels without a GPU.

A kernel is made for the compiler or for the interpreter when its module is imported. Without a
GPU the modules are imported here, for the interpreter; the variable is taken away again, so that
nothing else in this process or started by it sees it.
"""

import importlib
import os
import sys
import textwrap
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

KERNELS = ("triton_shift", "fused_triton", "fused_project")

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    for module in KERNELS:
        importlib.import_module(f"s2mlp_cli.shifts.{module}")
    importlib.import_module("triton.experimental.gluon")  # a launch would import it, too late
    del os.environ["TRITON_INTERPRET"]


@pytest.fixture
def device():
    """Where kernels run: the GPU if there is one, otherwise the CPU with the interpreter."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def written(tmp_path):
    """Write a Python file and return how a user names its function ``f``."""

    def write(source, name="f", imports="import torch\nimport torch.nn.functional as F\n"):
        path = tmp_path / "mine.py"
        path.write_text(imports + textwrap.dedent(source))
        return f"{path}:{name}"

    return write
