"""The public functions, as the README shows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import s2mlp_cli
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts.torch_shifts import shift_oracle

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", [name for name in s2mlp_cli.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_documented(name):
    function = getattr(s2mlp_cli, name)
    assert callable(function)
    assert function.__doc__


def test_a_type_checker_is_told_of_every_public_name():
    source = (ROOT / "s2mlp_cli" / "__init__.py").read_text("utf-8")
    told = re.findall(r"^    from ([\w.]+) import (\w+) as \2$", source, re.M)
    assert {name: home for home, name in told} == s2mlp_cli._HOMES


def test_interactive_shells_find_the_public_names():
    code = "import s2mlp_cli; assert set(s2mlp_cli.__all__) <= set(dir(s2mlp_cli))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'cuont'"):
        _ = s2mlp_cli.cuont


def test_importing_the_package_imports_no_torch():
    code = "import s2mlp_cli, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_shift_is_the_definition():
    x = torch.randn(2, 5, 4, 8)
    directions = ("right", "left", "down", "up")
    for implementation in ("slice", "roll", "conv"):
        moved = s2mlp_cli.shift(x, directions, implementation)
        assert torch.equal(moved, shift_oracle(x, directions))


@pytest.mark.parametrize(
    ("directions", "implementation", "sentence"),
    [
        (("rigth",), "slice", "there is no direction 'rigth'; did you mean 'right'?"),
        (("right",), "fused", "'fused' computes a whole mixer"),
        (("right",), "silce", "no shift implementation 'silce'; did you mean 'slice'?"),
    ],
)
def test_wrong_arguments_of_shift(directions, implementation, sentence):
    with pytest.raises(UnavailableError) as caught:
        s2mlp_cli.shift(torch.randn(1, 2, 2, 4), directions, implementation)
    assert sentence in str(caught.value)
