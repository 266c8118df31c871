"""The plug-in module that many repositories copied, and its replacement."""

import re
import textwrap

import pytest
import torch
from click.testing import CliRunner

from s2mlp_cli import S2Attention
from s2mlp_cli.commands.verify import command
from s2mlp_cli.cores import threads
from s2mlp_cli.errors import S2MLPError, UserCodeError
from s2mlp_cli.measure.counting.count import count
from s2mlp_cli.measure.profiling.cases import has_shifts
from s2mlp_cli.measure.source import module_model
from s2mlp_cli.measure.verifying.modules import explain_module
from s2mlp_cli.models import set_shift
from s2mlp_cli.user_code import load_code

# The plug-in as it is copied, written again: it overwrites slices that it still has to read.
PLUG_IN = """
import torch
from torch import nn


def move(x, group, down, right):
    part = x[..., group]
    if down > 0:
        part[:, 1:] = part[:, :-1]
    if down < 0:
        part[:, :-1] = part[:, 1:]
    if right > 0:
        part[:, :, 1:] = part[:, :, :-1]
    if right < 0:
        part[:, :, :-1] = part[:, :, 1:]


def shift(x, order):
    size = x.shape[-1] // 4
    for place, (down, right) in enumerate(order):
        move(x, slice(place * size, (place + 1) * size), down, right)
    return x


ROWS, COLUMNS = [(1, 0), (-1, 0)], [(0, 1), (0, -1)]


class Attention(nn.Module):
    def __init__(self, channels=512):
        super().__init__()
        self.mlp1 = nn.Linear(channels, channels, bias=False)
        self.mlp2 = nn.Linear(channels, 3 * channels, bias=False)

    def forward(self, maps):
        weights = self.mlp2(nn.functional.gelu(self.mlp1(maps.sum((1, 2, 3)))))
        weights = weights.reshape(len(maps), 3, 1, 1, -1).softmax(1)
        return (weights * maps).sum(1)


class S2Attention(nn.Module):
    attention = "split_attention"

    def __init__(self, channels=512, width=None):
        super().__init__()
        self.mlp1 = nn.Linear(channels, 3 * channels)
        self.mlp2 = nn.Linear(channels, channels)
        setattr(self, self.attention, Attention(width or channels))

    def moved(self, x):
        return x

    def forward(self, x):
        c = x.shape[1]
        x = self.mlp1(x.permute(0, 2, 3, 1))
        first = shift(self.moved(x[..., :c]), ROWS + COLUMNS)
        second = shift(self.moved(x[..., c : 2 * c]), COLUMNS + ROWS)
        maps = torch.stack([first, second, x[..., 2 * c :]], 1)
        return self.mlp2(getattr(self, self.attention)(maps)).permute(0, 3, 1, 2)


class Cloned(S2Attention):
    def forward(self, x):
        true = lambda x, order: torch.cat(
            [
                torch.cat([g[:, :1], g[:, :-1]], 1) if d > 0
                else torch.cat([g[:, 1:], g[:, -1:]], 1) if d < 0
                else torch.cat([g[:, :, :1], g[:, :, :-1]], 2) if r > 0
                else torch.cat([g[:, :, 1:], g[:, :, -1:]], 2)
                for g, (d, r) in zip(x.chunk(4, -1), order)
            ],
            -1,
        )
        c = x.shape[1]
        x = self.mlp1(x.permute(0, 2, 3, 1))
        first, second = true(x[..., :c], ROWS + COLUMNS), true(x[..., c : 2 * c], COLUMNS + ROWS)
        maps = torch.stack([first, second, x[..., 2 * c :]], 1)
        return self.mlp2(getattr(self, self.attention)(maps)).permute(0, 3, 1, 2)


class Swapped(Cloned):
    def forward(self, x):
        return super().forward(x.transpose(2, 3)).transpose(2, 3)


class WithInput(Cloned):
    def forward(self, x):
        return x + super().forward(x)


class Rectified(Attention):
    def forward(self, maps):
        weights = self.mlp2(self.mlp1(maps.sum((1, 2, 3))).relu())
        return (weights.reshape(len(maps), 3, 1, 1, -1).softmax(1) * maps).sum(1)


class WithReLU(Cloned):
    def __init__(self, channels=512):
        super().__init__(channels)
        self.split_attention = Rectified(channels)


class Reduced(Cloned):
    def __init__(self, channels=512):
        super().__init__(channels)
        self.split_attention.mlp1 = nn.Linear(channels, channels // 4, bias=False)
        self.split_attention.mlp2 = nn.Linear(channels // 4, 3 * channels, bias=False)


class OtherLayout(Cloned):
    def forward(self, x):
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Renamed(Cloned):
    attention = "split_attn"


class Narrow(S2Attention):
    def __init__(self, channels=512):
        super().__init__(channels, width=512)


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
"""


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text(textwrap.dedent(PLUG_IN))
    return str(path)


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


def module(theirs, name, channels):
    torch.manual_seed(0)
    return load_code(f"{theirs}:{name}").value(channels)


@pytest.mark.parametrize("channels", [16, 40])
@pytest.mark.parametrize("shift", ["concat", "fused", "slice", "roll"])
def test_it_computes_what_a_copy_with_a_true_shift_does(theirs, channels, shift):
    copy = module(theirs, "Cloned", channels)
    ours = S2Attention(channels, shift=shift)
    ours.load_state_dict(copy.state_dict())
    x = torch.randn(2, channels, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), copy(x), rtol=1e-5, atol=1e-6)


def test_inplace_repeats_what_was_trained_with_the_fault(theirs):
    copy = module(theirs, "S2Attention", 16)
    ours = S2Attention(16, shift="inplace")
    ours.load_state_dict(copy.state_dict())
    x = torch.randn(2, 16, 14, 14)
    with torch.no_grad():
        torch.testing.assert_close(ours(x.clone()), copy(x.clone()), rtol=1e-5, atol=1e-6)
        ours.set_shift("concat")
        assert (ours(x) - copy(x.clone())).abs().max() > 0.1


def test_state_dicts_of_renamed_copies_load_as_they_are(theirs):
    state = module(theirs, "Renamed", 8).state_dict()
    assert "split_attn.mlp1.weight" in state
    S2Attention(8).load_state_dict(state)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), S2Attention(8))
    model.load_state_dict({
        **{f"0.{k}": v for k, v in model[0].state_dict().items()},
        **{f"1.{k}": v for k, v in state.items()},
    })  # fmt: skip


class Surrounded(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.mixer = torch.nn.Conv2d(3, 16, 4, 4), S2Attention(16)

    def forward(self, x):
        return self.mixer(self.stem(x)).mean((2, 3))


def test_its_shift_is_found_counted_and_switched_in_any_model():
    model = Surrounded()
    assert set_shift(model, "roll") == 1
    counted = count(model, "conv", input_size=(16, 24))
    assert counted.notes == ()
    assert counted.shift_cost.bytes_least == 2 * 2 * 4 * 6 * 16 * 4
    assert has_shifts(module_model(model))


def test_directions_and_the_width_of_the_attention_can_be_chosen():
    ours = S2Attention(12, splits=(("up", "left", "down-right"), ()), reduction=4)
    assert ours.split_attention.mlp1.weight.shape == (3, 12)
    assert ours(torch.randn(1, 12, 4, 4)).shape == (1, 12, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 0}, "channels: found 0; allowed: 1 or more"),
        ({"channels": 8, "reduction": 0}, "reduction: found 0; allowed: 1 to 8"),
        ({"channels": 8, "reduction": 9}, "reduction: found 9; allowed: 1 to 8"),
        ({"channels": 8, "splits": ()}, "splits: found ();"),
        ({"channels": 8, "splits": (("down", "sideways"),)}, "splits: found sideways; allowed: up"),
        ({"channels": 8, "splits": ("down", "up")}, "splits: found d, o, w, n"),
        ({"channels": 46, "shift": "fused"}, "needs groups of equal size"),
    ],
)
def test_arguments_without_a_meaning_are_refused_in_a_sentence(arguments, words):
    with pytest.raises(S2MLPError, match=re.escape(words)):
        S2Attention(**arguments)


def test_an_empty_batch_has_an_empty_result():
    assert S2Attention(8)(torch.zeros(0, 8, 3, 3)).shape == (0, 8, 3, 3)


@pytest.mark.parametrize("shift", ["concat", "fused"])
def test_it_works_under_autocast_compile_export_and_channels_last(shift):
    ours = S2Attention(16, shift=shift).eval()
    x = torch.randn(2, 16, 5, 6)
    with torch.no_grad():
        eager = ours(x)
        compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), eager)
        program = torch.export.export(ours, (x,)).module()
        torch.testing.assert_close(program(x), eager)
        last = ours(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, eager)
        assert last.is_contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            assert (ours(x).float() - eager).abs().max() < 0.1
    ours(x).sum().backward()


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("Cloned", {"channels": 16}, "computes what S2Attention does"),
        ("Reduced", {"channels": 16}, "computes what S2Attention does: replacing"),
        ("Swapped", {"channels": 16}, "on the same weights: it exchanges rows and columns"),
        ("WithInput", {"channels": 16}, "on the same weights: its output adds the input"),
        ("WithReLU", {"channels": 16}, "weights: its attention has ReLU instead of GELU"),
        ("OtherLayout", {"channels": 16}, "takes and returns B,H,W,C, where S2Attention takes"),
        ("Renamed", {"channels": 16}, "computes what S2Attention does"),
        ("S2Attention", {"channels": 16}, "S2Attention(channels, shift='inplace') repeats it"),
        (
            "Narrow",
            {"channels": 64},
            "its split attention is fixed at 512 channels, whatever width",
        ),
    ],
)
def test_a_copy_is_compared_with_ours(theirs, name, arguments, says):
    found = explain_module(f"{theirs}:{name}", arguments)
    assert says in found.explanation
    assert found.is_shift == says.startswith("computes")
    assert found == explain_module(f"{theirs}:{name}", arguments)


def test_a_renamed_attention_is_noted_and_another_module_is_refused(theirs):
    found = explain_module(f"{theirs}:Renamed", {"channels": 16})
    assert found.findings == ("its attention is called split_attn; its state dict loads as it is",)
    with pytest.raises(UserCodeError, match="has no mlp1.weight of 3\\*C,C"):
        explain_module(f"{theirs}:Other")


def test_the_command_explains_shifts_and_modules_and_ends_with_1_for_what_is_none(theirs, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "def f(x, step=1):\n    y = x.clone()\n    y[:, step:] = x[:, :-step]\n    return y\n"
    )
    done = CliRunner().invoke(
        command, ["--shift", f"{mine}:f", "--module", f"{theirs}:S2Attention", "--set", "channels=16"],
        standalone_mode=False,
    )  # fmt: skip
    assert done.return_value == 1  # --set goes to what takes it
    assert "down on B,H,W,C" in done.stdout
    done = CliRunner().invoke(
        command, ["--shift", f"{mine}:f", "--module", f"{theirs}:S2Attention", "--set", "stp=1"]
    )
    said = f"nothing here takes 'stp'; {mine}:f takes x, step; {theirs}:S2Attention takes channels"
    assert said in str(done.exception)
    done = CliRunner().invoke(command, ["--shift", f"{mine}:f"], standalone_mode=False)
    assert done.return_value == 0
    assert "mine.py:f: a true shift: down on B,H,W,C." in done.stdout
    assert "splits: [[down]]" in done.stdout
    done = CliRunner().invoke(
        command,
        ["--module", f"{theirs}:S2Attention", "--set", "channels=16"],
        standalone_mode=False,
    )
    assert done.return_value == 1
    assert "overwrites what it still has to read" in " ".join(done.stdout.split())
