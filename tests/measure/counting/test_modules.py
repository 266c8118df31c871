"""Any module is counted, not only this project's: shapes, shared parameters, code without meta."""

import os
import sys
from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn

from s2mlp_cli import sample
from s2mlp_cli.errors import S2MLPError, SpecError, UnavailableError
from s2mlp_cli.measure.counting.count import count, count_sizes
from s2mlp_cli.measure.source import open_model
from s2mlp_cli.models import build_model
from s2mlp_cli.models.timm_models import fused_attention
from s2mlp_cli.shifts.behaviour import Read
from s2mlp_cli.shifts.probe import Probe
from s2mlp_cli.specs import load_spec


class Net(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def rows(result):
    return {row.module: row for row in result.by_module}


def conv_and_head():
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(128, 5))


def test_a_module_is_counted_by_two_methods_that_agree():
    result = count(conv_and_head(), batch_size=2, input_size=8)
    assert result.macs_matmul == 2 * (8 * 16 * 27 + 128 * 5)
    assert result.crosscheck.agree
    assert result.crosscheck.closed_form is None
    assert (result.family, result.model, result.spec) == ("module", "Sequential", {})
    assert result.notes == ()


def test_modules_have_shapes_and_kernels():
    found = rows(count(conv_and_head(), input_size=(8, 8)))
    conv, linear = found["0"], found["2"]
    assert (conv.input_shape, conv.output_shape) == ((1, 3, 8, 8), (1, 8, 4, 4))
    assert conv.kernel_size == (3, 3)
    assert (linear.input_shape, linear.output_shape) == ((1, 128), (1, 5))
    assert linear.kernel_size is None


def test_a_parameter_of_two_modules_counts_once_and_is_marked():
    first, second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
    second.weight = first.weight
    net = nn.Sequential(nn.Flatten(), first, second)
    result = count(net, input_size=(1, 2))
    assert result.params == 6 * 6 + 6 == sum(p.numel() for p in net.parameters())
    found = rows(result)
    assert (found["1"].params, found["1"].shared) == (42, None)
    assert (found["2"].params, found["2"].shared) == (0, "1.weight")
    assert found["2"].macs == 36


def test_a_module_that_is_used_under_two_names_counts_once_and_is_marked():
    block = nn.Linear(6, 6)
    net = nn.Sequential(nn.Flatten(), block, nn.GELU(), block)
    result = count(net, input_size=(1, 2))
    assert result.params == 42
    assert result.macs_matmul == 2 * 36
    found = rows(result)
    assert (found["3"].params, found["3"].macs, found["3"].shared) == (0, 0, "1")
    assert found["1"].macs == 2 * 36


OUTPUTS = {
    "a dictionary": lambda y: {"logits": y, "features": [y]},
    "a list": lambda y: [y, y],
    "an object": lambda y: SimpleNamespace(logits=y),
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_of_any_kind(output):
    net = Net(lambda self, x: output(self.fc(x)), fc=nn.Linear(4, 2))
    result = count(net, input_size=4)
    assert result.macs_matmul == result.crosscheck.flop_counter == 3 * 4 * 4 * 2


def test_code_that_needs_values_is_counted_on_the_cpu_and_says_so():
    def forward(self, x):
        return self.fc(x) if x.sum().item() == 0 else self.fc(self.fc(x))

    result = count(Net(forward, fc=nn.Linear(4, 4)), input_size=4)
    assert result.macs_matmul == 3 * 4 * 4 * 4
    (note,) = result.notes
    assert note.startswith("counted on the CPU, because it does not run on the meta device (")


def test_tensors_that_a_forward_pass_makes_itself_are_on_the_right_device():
    net = Net(lambda self, x: self.fc(x + torch.arange(4.0)), fc=nn.Linear(4, 4))
    assert count(net, input_size=4).notes == ()


WRAPPED = {
    "half precision": lambda: conv_and_head().half(),
    "double precision": lambda: conv_and_head().double(),
    "compiled": lambda: torch.compile(conv_and_head()),
    "data parallel": lambda: nn.DataParallel(conv_and_head()),
    "lazy": lambda: nn.Sequential(
        nn.LazyConv2d(8, 3, stride=2, padding=1), nn.Flatten(), nn.LazyLinear(5)
    ),
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=WRAPPED)
def test_modules_of_any_dtype_and_in_any_wrapper(make):
    result = count(make(), input_size=8)
    assert result.macs_matmul == result.crosscheck.flop_counter == 8 * 16 * 27 + 128 * 5
    assert result.params == 8 * 28 + 129 * 5


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_are_computed_from_others_can_be_copied():
    net = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)))
    result = count(net, input_size=8)
    assert (result.macs_matmul, result.uncounted) == (4 * 36 * 27, ())


def test_the_module_stays_as_it_was():
    net = conv_and_head().train()
    count(net, input_size=8)
    assert net.training
    assert net[0].weight.requires_grad
    assert not net[0].weight.is_meta
    assert not net[0]._forward_hooks


def test_a_module_with_our_mixer_has_its_shifts_counted_like_its_spec():
    spec = load_spec("v2-small", ("stages.0.depth=2", "stages.1.depth=1"))
    ours, given = count(spec, "conv"), count(build_model(spec), "conv")
    assert given.shift_cost == ours.shift_cost
    assert (given.macs, given.params, given.shift) == (ours.macs, ours.params, "conv")


def test_a_module_that_fails_says_what_failed_and_others_are_counted(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "  def __init__(self):\n"
        "    super().__init__()\n"
        "    self.fc = nn.Linear(16, 2)\n"
        "  def forward(self, x):\n"
        "    return self.fc(x.flatten(1))\n"
    )
    net = open_model(f"{tmp_path / 'net.py'}:Net", in_channels=1)
    counted, refused = count_sizes([net, open_model("v1-wide")], [(4, 4), (16, 16)])
    assert [(each.model, each.input_size) for each in counted] == [
        ("net.py:Net", (4, 4)),
        ("v1-wide", (16, 16)),
    ]
    assert refused[0].reason.startswith("its forward pass fails: RuntimeError: ")
    assert refused[0].reason.endswith("(net.py:7)")


def test_a_shift_of_the_users_is_counted_and_said_what_it_is(tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text("def twice(x):\n    return x.clone() + x\n")
    monkeypatch.setattr(
        "s2mlp_cli.shifts.contender.probe",
        lambda shift, device: Probe(
            "not a shift: it adds", Read(shift, "B,H,W,C", torch.device("cpu"), None)
        ),
    )
    result = count(load_spec("v1-wide", ("stages.0.depth=1",)), f"{file}:twice")
    map_bytes = 14 * 14 * 768 * 4
    assert result.shift == "mine.py:twice"
    assert result.shift_cost.bytes_moved == 2 * map_bytes + 3 * map_bytes
    assert result.notes == ("mine.py:twice: not a shift: it adds",)
    assert result.shift_source.path == f"{file}:twice"


def test_a_wrong_name_of_a_shift_is_an_error_where_there_is_no_shift_too():
    with pytest.raises(UnavailableError, match="no shift implementation 'silce'"):
        count(conv_and_head(), "silce", input_size=8)


def test_a_checkpoint_is_counted_as_its_architecture():
    result = count(open_model(str(sample.CHECKPOINT)))
    assert (result.model, result.family) == ("digits.safetensors", "s2mlp")
    assert result.source.sha256
    assert result.crosscheck.closed_form == result.macs_matmul


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: count("v2-small"), "count: found 'v2-small'; .* load_spec\\(\"v2-small\"\\)"),
        (lambda: count(3), "count: found a int; allowed: a spec or a torch.nn.Module"),
        (lambda: count(torch.jit.script(nn.ReLU())), "is TorchScript; pass the module that it was"),
        (lambda: count(load_spec("v2-small"), batch_size=0), "batch_size: found 0; allowed: 1 to"),
        (lambda: count(conv_and_head(), input_size=16), "its forward pass fails: RuntimeError"),
        (lambda: count(conv_and_head(), in_channels=4), "its forward pass fails: RuntimeError"),
        (lambda: count(conv_and_head(), in_channels=0), "its forward pass fails: RuntimeError"),
        (
            lambda: count(load_spec("v2-small"), in_channels=1),
            "found 1; allowed: 3, that of v2-small",
        ),
        (lambda: count(load_spec("v2-small"), input_size=225), "multiples of 14"),
        (
            lambda: count(load_spec("v2-small"), input_size="224"),
            "found '224'; allowed: 1 to 16384",
        ),
        (
            lambda: count(conv_and_head(), input_size=(8,)),
            r"input_size: found \(8,\); allowed: 1 to",
        ),
        (
            lambda: count(conv_and_head(), input_size=0),
            r"input_size: found \(0, 0\); allowed: 1 to",
        ),
        (
            lambda: count(load_spec("v2-small"), batch_size=1.5),
            "batch_size: found 1.5; allowed: 1 to",
        ),
    ],
)
def test_what_cannot_be_counted_is_a_sentence(call, sentence):
    with pytest.raises(S2MLPError, match=sentence):
        call()


# timm ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hrnet_w18_small", "halonet26t"])
def test_a_size_at_which_timms_forward_pass_fails_is_a_row_with_the_reason(name):
    given = open_model(f"timm:{name}")
    counted, refused = count_sizes([given, open_model("v1-wide")], [(225, 225), (224, 224)])
    assert [each.input_size for each in counted if each.model == "v1-wide"] == [(224, 224)]
    (row, *_) = (each for each in refused if each.model == given.name)
    assert "its forward pass fails: " in row.reason
    native = "x".join(map(str, given.input_size))
    assert row.reason.endswith(f"; its native size is {native}")


def test_a_bare_assertion_of_timm_says_where_it_is():
    with pytest.raises(SpecError, match=r"AssertionError \(halo_attn.py:\d+\); its native size is"):
        count(load_spec("timm:halonet26t"), input_size=225)


def test_a_model_without_classifier_is_counted_as_timm_builds_it():
    result = count(load_spec("timm:vit_small_patch14_dinov2"))
    assert result.params == result.params_without_head == 22_056_192
    assert result.macs_head == 0


def test_a_classifier_can_be_left_out():
    whole = count(load_spec("timm:resnet10t"))
    headless = count(load_spec("timm:resnet10t", ("classes=0",)))
    assert headless.params == whole.params_without_head == headless.params_without_head


def test_families_that_can_be_fused_are_noted():
    (note,) = count(load_spec("timm:mobileone_s0")).notes
    assert "modules can be fused for inference" in note
    assert count(load_spec("timm:resnet10t")).notes == ()


@pytest.mark.parametrize("fused", [False, True])
def test_timms_switch_of_fused_attention_changes_no_count(monkeypatch, fused):
    monkeypatch.setattr(timm.layers.config, "_USE_FUSED_ATTN", int(fused))  # TIMM_FUSED_ATTN
    result = count(load_spec("timm:vit_tiny_patch16_224", ("classes=0",)))
    assert "scaled_dot_product_attention" in {row.operator for row in result.by_operator}
    assert timm.layers.use_fused_attn() is fused


def test_the_switch_is_set_where_timm_is_imported_only_while_a_model_is_built(monkeypatch):
    monkeypatch.delitem(sys.modules, "timm.layers.config")
    monkeypatch.setenv("TIMM_FUSED_ATTN", "0")
    with fused_attention():
        assert os.environ["TIMM_FUSED_ATTN"] == "1"
        imported = SimpleNamespace(_USE_FUSED_ATTN=1)
        monkeypatch.setitem(sys.modules, "timm.layers.config", imported)
    assert os.environ["TIMM_FUSED_ATTN"] == "0"
    assert imported._USE_FUSED_ATTN == 0


def test_a_part_that_is_called_fuse_is_not_a_fusion():
    net = Net(lambda self, x: self.fuse(x), fuse=nn.Conv2d(3, 4, 1))
    assert count(net, input_size=4).notes == ()
