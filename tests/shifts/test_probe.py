"""Shifts of other people, told by where their values come from."""

import pytest
import torch

from s2mlp_cli import shift
from s2mlp_cli.directions import OFFSETS
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.shifts.decode import decode, numbered
from s2mlp_cli.shifts.foreign import load_foreign
from s2mlp_cli.shifts.moves import Move, moved
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


def found(name, layout=None, **arguments):
    return probe(load_foreign(name, arguments), layout)


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


def test_a_true_shift_is_a_line_of_a_spec_and_has_nothing_to_be_told(written):
    result = found(written(CLONED))
    assert result.verdict == "a true shift: down, up, right, left on B,H,W,C"
    assert result.splits == "splits: [[down, up, right, left]]"
    assert result.findings == ()


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


def test_a_function_that_takes_directions_gets_them(written):
    source = (
        "def f(x, directions):\n    from s2mlp_cli import shift\n    return shift(x, directions)"
    )
    assert found(written(source)).verdict == "a true shift: down, up, right, left on B,H,W,C"


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


@pytest.mark.parametrize(
    ("source", "name", "arguments"),
    [
        ("class K:\n    def move(self, x):\n        return x.roll(2, 1)", "K.move", {}),
        ("class K:\n    def __init__(self, n):\n        self.n = n\n"
         "    def __call__(self, x, axis):\n        return x.roll(self.n, axis)",
         "K", {"n": 2, "axis": 1}),
        ("class K:\n    @staticmethod\n    def f(x):\n        return x.roll(2, 1)", "K.f", {}),
        ("class K(torch.nn.Module):\n    def forward(self, x):\n        return x.roll(2, 1)",
         "K", {}),
        ("f = torch.nn.Sequential()\nf.forward = lambda x: x.roll(2, 1)", "f", {}),
        ("def f(x):\n    return [x.roll(2, 1)]", "f", {}),
        ("def f(x, n):\n    return x.roll(n, 1)", "f", {"n": 2}),
        ("class K:\n    @classmethod\n    def go(cls, x):\n        return x.roll(2, 1)", "K.go", {}),
        ("def make(n):\n    return lambda x: x.roll(n, 1)", "make", {"n": 2}),
        ("import functools\nf = functools.partial(torch.roll, shifts=2, dims=1)", "f", {}),
        ("@torch.jit.script\ndef f(x, n: int):\n    return torch.roll(x, n, 1)", "f", {"n": 2}),
        ("def f(*maps, **more):\n    return maps[0].roll(2, 1)", "f", {}),
        ("from nowhere import *\ntry:\n    import nothing\nexcept ImportError:\n    nothing = None\n"
         "STEP: int = 2\ndef f(x):\n    return x.roll(STEP, 1)", "f", {}),
    ],
)  # fmt: skip
def test_it_is_called_as_it_wants_to_be(written, source, name, arguments):
    found = probe(load_foreign(written(source, name), arguments))
    assert found.verdict == "a shift that wraps around at the border: down by 2 on B,H,W,C"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def f(x:\n    pass", r"importing mine.py: SyntaxError: .* \(mine.py, line 3\)"),
        ("import sys\nsys.exit(3)", "importing mine.py ends the program; move what runs at import"),
        ("f = 3", "mine.py:f is of type int, not a function"),
        ("def f(x, step, g):\n    pass", "needs step, g; give it with --set step=VALUE --set g="),
        ("from nowhere import go\ndef f(x):\n    return go(x)",
         "mine.py:f needs what cannot be imported here: ModuleNotFoundError: .*'nowhere'"),
        ("class f(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(2, 2)",
         "has weights, so it is more than a shift"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_a_sentence(written, source, sentence):
    with pytest.raises(UserCodeError, match=sentence):
        load_foreign(written(source))


def test_an_argument_that_is_not_there_is_named(written):
    with pytest.raises(UserCodeError, match="has no argument 'm'; it has n"):
        load_foreign(written("def f(x, n):\n    return x.roll(n, 1)"), {"m": 1, "n": 1})


def test_what_a_shift_prints_goes_to_stderr_and_files_beside_it_are_found(
    written, tmp_path, capsys
):
    (tmp_path / "beside.py").write_text("STEP = 1\n")
    source = "def f(x):\n    import beside\n    print('called')\n    return x.roll(beside.STEP, 1)"
    found = probe(load_foreign(written(source)))
    assert "down on B,H,W,C" in found.verdict
    assert capsys.readouterr().out == ""
