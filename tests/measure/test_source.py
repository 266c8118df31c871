import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from s2mlp_cli import sample
from s2mlp_cli.errors import CheckpointError, ExportError, S2MLPError, SpecError, UserCodeError
from s2mlp_cli.measure.counting.count import count
from s2mlp_cli.measure.source import module_model, open_model, open_models, reopen
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.runtimes.export import export_pt2
from s2mlp_cli.specs import load_spec

NET = """
import torch
from torch import nn
from helper import WIDTH
print("importing")

class Net(nn.Module):
    def __init__(self, width=WIDTH, bias=True):
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, bias=bias)

    def forward(self, x):
        return self.proj(x).mean((2, 3))

def build(depth=1):
    return nn.Sequential(*(Net() for _ in range(depth)))

def fails():
    raise ValueError("no such width")

def number():
    return 3

ready = Net(2)
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "helper.py").write_text("WIDTH = 5\n")
    return str(tmp_path / "net.py")


def test_a_name_a_file_and_a_timm_name_are_specs(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: v2-small\nclasses: 10\n")
    assert open_model("v2-small").spec == load_spec("v2-small")
    mine = open_model(str(tmp_path / "mine.yaml"), overrides=("stages.0.depth=1",))
    assert (mine.source.kind, mine.name) == ("spec", "mine[stages.0.depth=1]")
    assert mine.at((448, 448)).spec.input_size == (448, 448)


def test_opening_a_spec_imports_no_torch():
    code = (
        "import sys; from s2mlp_cli.measure.source import open_model; open_model('v2-small'); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("as_model", [True, False])
def test_a_checkpoint_is_a_model_with_its_weights_by_either_option(as_model):
    path = str(sample.CHECKPOINT)
    given = open_model(path) if as_model else open_model(None, path)
    assert (given.source.kind, given.name) == ("checkpoint", "digits.safetensors")
    state = given.build("slice").state_dict()
    again = reopen(given.source, given.spec, given.input_size).build("conv").state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert given.build(device="meta").head.weight.is_meta


def test_a_checkpoint_takes_no_overrides_without_a_model():
    with pytest.raises(SpecError, match="--set changes a spec, and .* add --model NAME"):
        open_model(None, sample.CHECKPOINT, overrides=("classes=3",))


def test_code_is_called_with_yaml_values_and_kept_with_its_hash(net):
    given = open_model(f"{net}:Net", overrides=("width=7", "bias=false"), input_size=(8, 6))
    module = given.build()
    assert (module.proj.out_channels, module.proj.bias, module.training) == (7, None, False)
    assert given.build(device="meta").proj.weight.is_meta
    source = given.source
    assert (source.kind, source.name) == ("python", "net.py:Net[width=7, bias=false]")
    assert source.arguments == {"width": 7, "bias": False}
    assert reopen(source, None, (8, 6), 3).build().proj.out_channels == 7


def test_what_code_prints_does_not_reach_stdout(net, capsys):
    open_model(f"{net}:build").build()
    assert capsys.readouterr().out == ""


def test_a_changed_file_is_refused(net):
    source = open_model(f"{net}:build").source
    with open(net, "a") as file:
        file.write("# another\n")
    with pytest.raises(UserCodeError, match=r"net.py has changed \(sha256"):
        reopen(source, None, (224, 224))


def test_every_file_gets_its_own_neighbours(net, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "net.py").write_text(NET)
    (tmp_path / "other" / "helper.py").write_text("WIDTH = 9\n")
    widths = [
        open_model(f"{file}:Net").build().proj.out_channels
        for file in (net, tmp_path / "other" / "net.py", net)
    ]
    assert widths == [5, 9, 5]


def test_imports_inside_functions_find_the_folder_too(tmp_path):
    (tmp_path / "late_helper.py").write_text("from torch.nn import Linear\n")
    (tmp_path / "late.py").write_text(
        "def build():\n import late_helper as h\n return h.Linear(2, 3)\n"
    )
    assert open_model(f"{tmp_path / 'late.py'}:build").build().out_features == 3


def test_a_module_that_is_made_at_import_is_copied(net):
    given = open_model(f"{net}:ready")
    assert given.build() is not given.build()
    assert given.build(device="meta").proj.weight.is_meta


def test_weights_are_loaded_into_a_model_from_code(net, tmp_path):
    torch.manual_seed(1)
    trained = open_model(f"{net}:Net").build()
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "net.pth")
    given = open_model(f"{net}:Net", tmp_path / "net.pth")
    assert torch.equal(given.build().proj.weight, trained.proj.weight)
    again = reopen(given.source, None, (224, 224))
    assert torch.equal(again.build().proj.weight, trained.proj.weight)
    with pytest.raises(CheckpointError, match=r"does not fit net.py:Net\[width=2\].*--set"):
        open_model(f"{net}:Net", tmp_path / "net.pth", overrides=("width=2",))


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("biuld", (), "there is no 'biuld' in it; did you mean 'build'"),
        ("zzz", (), "there is no 'zzz' in it; it defines "),
        ("fails", (), r"net.py:fails\(\): ValueError: no such width \(net.py:19\)"),
        ("build", ("deep=2",), "net.py:build has no argument 'deep'; did you mean 'depth'"),
        ("number", (), "net.py:number returns a int; name a function or class"),
        ("build", ("stages.0=2",), "use KEY=VALUE, where KEY is the name of an argument"),
        ("build", ("depth",), "use KEY=VALUE"),
    ],
)
def test_what_is_wrong_with_code_is_a_sentence(net, name, overrides, sentence):
    with pytest.raises(UserCodeError, match=sentence):
        open_model(f"{net}:{name}", overrides=overrides).build()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import nothing_of_this_name", "importing bad.py: ModuleNotFoundError: .*bad.py:1"),
        ("def f(:", "importing bad.py: SyntaxError"),
        ("raise SystemExit(2)", "importing bad.py ends the program"),
    ],
)
def test_a_file_that_cannot_be_imported_is_a_sentence(tmp_path, code, sentence):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(UserCodeError, match=sentence):
        open_model(f"{tmp_path / 'bad.py'}:build")


def test_a_missing_file_and_a_missing_module_are_sentences(tmp_path):
    with pytest.raises(UserCodeError, match="none.py cannot be read: No such file"):
        open_model(f"{tmp_path / 'none.py'}:build")
    with pytest.raises(UserCodeError, match="importing no_such_package.net: ModuleNotFoundError"):
        open_model("no_such_package.net:build")


def test_a_module_of_a_package_and_its_relative_imports_work(tmp_path, monkeypatch):
    package = tmp_path / "mypackage_of_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("from torch.nn import Linear\n")
    (package / "net.py").write_text("from .parts import Linear\ndef build(): return Linear(2, 3)\n")
    monkeypatch.chdir(tmp_path)
    for text in ("mypackage_of_nets.net:build", f"{package / 'net.py'}:build"):
        given = open_model(text)
        assert given.build().out_features == 3
        assert given.source.sha256
    assert isinstance(
        open_model("torch.nn:Linear", overrides=("in_features=2", "out_features=1")).build(),
        nn.Linear,
    )


def test_in_channels_go_to_code_and_specs_alike(net):
    assert open_model("v2-small", in_channels=1).spec.in_channels == 1
    assert open_model(f"{net}:build", in_channels=4).in_channels == 4
    assert open_model(f"{net}:build").in_channels == 3


def test_checkpoints_of_one_name_are_called_by_their_paths(tmp_path):
    paths = [str(sample.CHECKPOINT)]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(str(tmp_path / folder / "best.safetensors"))
        shutil.copy(sample.CHECKPOINT, paths[-1])
    given = open_models(["v2-small"], [], paths)
    assert [each.name for each in given] == ["v2-small", "digits.safetensors", *paths[1:]]
    again = pickle.loads(pickle.dumps(given[-1]))
    assert again.name == again.at((48, 48)).name == paths[-1]


def test_a_file_of_weights_is_known_without_its_ending(tmp_path):
    path = tmp_path / "best"
    shutil.copy(sample.CHECKPOINT, path)
    assert open_model(str(path)).source.kind == "checkpoint"


def test_the_shift_of_a_module_that_holds_our_mixer_can_be_chosen():
    spec = load_spec("v2-small", ("stages.0.depth=1", "stages.1.depth=1"))
    model = open_model("v2-small", overrides=("stages.0.depth=1", "stages.1.depth=1")).build()
    given = module_model(model, spec.input_size)
    mixers = [m for m in given.build("roll").modules() if isinstance(m, SpatialShiftMixer)]
    assert {mixer.shift.function.name for mixer in mixers} == {"roll"}
    shared = given.build(device="meta")
    assert sum(p.numel() for p in shared.parameters()) == sum(p.numel() for p in model.parameters())


def test_an_onnx_file_has_its_size_and_says_what_it_is(tmp_path):
    onnx = pytest.importorskip("onnx")
    images, logits = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)
        for name, sizes in (("x", ["b", 1, 4, 6]), ("y", ["b", 24]))
    )
    node = onnx.helper.make_node("Flatten", ["x"], ["y"])
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", [images], [logits])),
        tmp_path / "model.onnx",
    )
    given = open_model(str(tmp_path / "model.onnx"))
    assert (given.source.kind, given.input_size, given.in_channels) == ("exported", (4, 6), 1)
    with pytest.raises(ExportError, match=r"model.onnx is an exported file.* give the checkpoint"):
        given.build()


def test_a_pt2_file_is_counted_like_what_it_was_made_from(tmp_path):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(32, 5)).eval()
    export_pt2(net, (1, 4, 6), tmp_path / "net.pt2")
    found, expected = (
        count(open_model(str(tmp_path / "net.pt2"))),
        count(module_model(net, (4, 6), 1)),
    )
    assert found.crosscheck.agree
    assert (found.params, found.macs_matmul) == (expected.params, expected.macs_matmul)


def test_a_changed_file_that_a_model_imports_is_named_and_refused(tmp_path):
    package = tmp_path / "nets_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    layers = package / "layers.py"
    layers.write_text("import torch\nLayer = torch.nn.Identity\n")
    net = package / "net.py"
    net.write_text("from .layers import Layer\n\ndef build():\n    return Layer()\n")
    source = open_model(f"{net}:build").source
    assert set(source.imports) == {"nets_of_a_test/__init__.py", "nets_of_a_test/layers.py"}
    assert reopen(source, None).source == source
    layers.write_text("import torch\nLayer = torch.nn.Flatten\n")
    with pytest.raises(UserCodeError, match=r"nets_of_a_test/layers.py, which .*net.py imports"):
        reopen(source, None)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("net.py", {}, "net.py is a file of Python code; name the function or class in it"),
        ("net.py:build", {}, "net.py:build needs width; give it with --set width=VALUE"),
        ("v2-small", {"averaged": True}, "--ema chooses among the weights of a checkpoint"),
        ("v2-small", {"weights": "ema"}, "--weights chooses among the weights of a checkpoint"),
        ("sample.pth", {"in_channels": 4}, "--in-channels 4: .* has weights for images of 3"),
    ],
)
def test_what_a_model_has_no_use_for_or_lacks_is_said(tmp_path, monkeypatch, name, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("def build(width, depth=1):\n    pass\n")
    shutil.copy(sample.CHECKPOINT, tmp_path / "sample.pth")
    with pytest.raises(S2MLPError, match=words):
        open_model(name, **options).build()
