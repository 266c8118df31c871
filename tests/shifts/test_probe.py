"""Shifts of other people, told by where their values come from."""

import textwrap

import pytest
import torch

from s2mlp_cli import shift
from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.shifts.decode import Move, decode, moved, numbered
from s2mlp_cli.shifts.foreign import load_foreign
from s2mlp_cli.shifts.probe import probe

# The plug-in that many repositories copied: it overwrites what it still has to read.
PLUG_IN = """
    def f(x):
        b, w, h, c = x.size()
        x[:, 1:, :, : c // 4] = x[:, : w - 1, :, : c // 4]
        x[:, : w - 1, :, c // 4 : c // 2] = x[:, 1:, :, c // 4 : c // 2]
        x[:, :, 1:, c // 2 : c * 3 // 4] = x[:, :, : h - 1, c // 2 : c * 3 // 4]
        x[:, :, : h - 1, 3 * c // 4 :] = x[:, :, 1:, 3 * c // 4 :]
        return x
"""
CLONED = PLUG_IN.replace("b, w, h, c = x.size()", "b, w, h, c = x.size(); x, y = x.clone(), x")
CLONED = CLONED.replace("= x[:", "= y[:")


@pytest.fixture
def written(tmp_path):
    """Write a Python file and return how a user names its function ``f``."""

    def write(source, name="f", imports="import torch\n"):
        path = tmp_path / "mine.py"
        path.write_text(imports + textwrap.dedent(source))
        return f"{path}:{name}"

    return write


def found(name, layout=None, **arguments):
    return probe(load_foreign(name, arguments), layout)


@pytest.mark.parametrize(
    ("source", "verdict", "splits"),
    [
        (CLONED, "a true shift: down, up, right, left on B,H,W,C", "[[down, up, right, left]]"),
        (
            "def f(x):\n    a, b = x.chunk(2, 1)\n    return torch.cat([a.roll(1, 2), b.roll(-1, 3)], 1)",
            "a shift that wraps around at the border: down, left on B,C,H,W",
            None,
        ),
        (
            """
            def f(x):
                out = torch.zeros_like(x)
                g = x.shape[1] // 12
                out[:, :g, :, :-1] = x[:, :g, :, 1:]
                out[:, g:] = x[:, g:]
                return out
            """,
            "a shift with zeros at the border: left (channels 0-3 of 48); the other channels stay "
            "on B,C,H,W",
            None,
        ),
        (
            """
            def f(x, step=2):
                y = x.clone()
                y[:, step:] = x[:, :-step]
                return y
            """,
            "a shift whose border keeps its own values: down by 2 on B,H,W,C",
            None,
        ),
        (
            "def f(x):\n    y = x.clone()\n    y[:, :, 1:] = x[:, :, :-1]\n    return y",
            "a true shift: right on B,H,W,C, or a true shift: down on B,C,H,W; choose with --layout",
            "[[right]]",
        ),
        (
            """
            def f(x, H, W):
                B, N, C = x.shape
                y = x.view(B, H, W, C)
                z = y.clone()
                z[:, 1:] = y[:, :-1]
                return z.view(B, N, C)
            """,
            "a true shift: down on B,N,C",
            "[[down]]",
        ),
        ("def f(x):\n    return x.clone()", "not a shift: the identity, nothing moves", None),
        (
            "def f(x):\n    return x[:, torch.randperm(x.shape[1])]",
            "not a shift: two calls on the same map give different values",
            None,
        ),
        (
            "def f(x):\n    return x.flip(0)",
            "not a shift: at 11x13 on B,H,W,C, of its values 100.0% come from other images",
            None,
        ),
        (
            "def f(x):\n    return 2 * x.relu()",
            "not a shift: at 11x13 on B,H,W,C, of its values 50.0% are zero and 50.0% are not "
            "values of its input",
            None,
        ),
        (
            "def f(x):\n    raise ValueError('no maps today')",
            "cannot be called on a map: ValueError: no maps today",
            None,
        ),
    ],
)  # fmt: skip
def test_the_verdict_says_what_is_computed(written, source, verdict, splits):
    result = found(written(source))
    assert result.verdict == verdict
    assert result.splits == (splits and f"splits: {splits}")


def test_the_copied_plug_in_smears_and_every_consequence_is_told(written):
    result = found(written(PLUG_IN))
    assert not result.is_shift
    assert [(s.group, s.direction) for s in result.smears] == [(1, "down"), (3, "right")]
    # All but the first line and the second, which gets the first's values as it should.
    assert [smear.wrong for smear in result.smears] == pytest.approx([12 / 14] * 2)
    assert (
        "groups 1 and 3 smear (85.7% of their values wrong at 14x14 on B,H,W,C)" in result.verdict
    )
    assert "clone first, and it is a true shift: down, up, right, left" in result.verdict
    told = " | ".join(result.findings)
    for what in (
        "changes its input",
        "fails on a leaf that needs a gradient",
        "fails after a ReLU in training",
        "its gradient is that of the true shift",
        "compiled it gives other values",
    ):
        assert what in told


def test_a_true_shift_has_nothing_to_be_told(written):
    assert found(written(CLONED)).findings == ()


def test_what_was_found_can_be_computed_at_any_width(written):
    result = found(written(CLONED))
    x = torch.randn(2, 4, 3, 16)
    assert torch.equal(result.reference(x), shift(x, ("down", "up", "right", "left")))


@pytest.mark.parametrize("directions", [("up",), ("up", "up", "left"), tuple(OFFSETS)])
def test_every_list_of_directions_is_read_back(directions):
    given = numbered((2, 4, 5), 24)
    assert decode(given, shift(given, directions)).directions == directions


@pytest.mark.parametrize("border", ["copied", "kept", "zero", "wrapped"])
@pytest.mark.parametrize("step", [(2, 0), (0, -3), (-2, 1)])
def test_every_step_and_border_is_read_back(border, step):
    given = numbered((1, 7, 8), 6)
    moves = (Move(0, 2, *step, border), Move(3, 5, 0, 0, "copied"))
    assert decode(given, moved(given, moves)).moves == moves


def test_written_for_one_layout_and_called_with_another_moves_channels(written):
    result = found(written(CLONED), layout="B,C,H,W")
    assert result.verdict == "moves channels: written for B,H,W,C, called with B,C,H,W"


def test_a_map_that_must_be_square_is_told(written):
    source = """
        def f(x):
            B, N, C = x.shape
            side = int(N**0.5)
            y = x.view(B, side, side, C)
            return torch.cat([y[:, :1], y[:, :-1]], 1).view(B, N, C)
    """
    result = found(written(source))
    assert result.verdict == "a true shift: down on B,N,C"
    assert any(each.startswith("fails on maps that are not square") for each in result.findings)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("class K:\n    @staticmethod\n    def f(x):\n        return x.roll(1, 1)", "K.f"),
        ("class K(torch.nn.Module):\n    def forward(self, x):\n        return x.roll(1, 1)", "K"),
        ("def make():\n    return lambda x: x.roll(1, 1)", "make"),
        ("f = torch.nn.Sequential()\nf.forward = lambda x: x.roll(1, 1)", "f"),
        ("def f(x):\n    return [x.roll(1, 1)]", "f"),
    ],
)
def test_methods_modules_factories_and_lists_are_called_as_they_want(written, source, name):
    assert "wraps around at the border: down on B,H,W,C" in found(written(source, name)).verdict


def test_a_function_that_takes_directions_gets_them(written):
    source = (
        "def f(x, directions):\n    from s2mlp_cli import shift\n    return shift(x, directions)"
    )
    assert found(written(source)).verdict == "a true shift: down, up, right, left on B,H,W,C"


def test_arguments_are_given_and_what_is_missing_is_named(written):
    name = written("def f(x, n):\n    return x.roll(n, 1)")
    assert "down by 3" in found(name, n=3).verdict
    with pytest.raises(UserCodeError, match="needs n; give it with --set n=VALUE"):
        load_foreign(name)
    with pytest.raises(UserCodeError, match="has no argument 'm'; it has n"):
        load_foreign(name, {"m": 1, "n": 1})


def test_one_function_is_read_alone_where_the_file_needs_what_is_missing(written):
    imports = "import torch\nimport no_such_package\nfrom no_such_package import thing\n"
    source = """
        STEP = 1

        def helper(x):
            return x.roll(STEP, 1)

        def f(x):
            return helper(x)

        def g(x):
            return thing(x)

        class Net(no_such_package.Base):
            pass
    """
    result = found(written(source, imports=imports))
    assert "down" in result.verdict
    assert "was read alone" in result.findings[0]
    assert "no_such_package" in result.findings[0]
    with pytest.raises(UserCodeError, match="needs what cannot be imported here"):
        load_foreign(written(source, "Net", imports=imports))


def test_a_module_with_weights_is_more_than_a_shift(written):
    source = "class K(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(2, 2)"
    with pytest.raises(UserCodeError, match="has weights, so it is more than a shift"):
        load_foreign(written(source, "K"))
