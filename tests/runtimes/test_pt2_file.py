"""ExportedPrograms are loaded without running code, or refused."""

import copy
import io
import json
import pickle
import zipfile

import pytest
import torch

from s2mlp_cli.errors import ExportError
from s2mlp_cli.runtimes.export import export_pt2
from s2mlp_cli.runtimes.pt2_file import load_pt2


def test_a_program_of_ours_loads_and_computes_the_same(tiny, tiny_pt2, images):
    module, facts = load_pt2(tiny_pt2)
    with torch.no_grad():
        assert torch.equal(module(images), tiny(images))
    assert (facts.batch_size, facts.image, facts.classes, facts.precision) == (
        None,
        (3, 8, 8),
        5,
        "fp32",
    )
    assert facts.metadata == {"s2mlp.model": "tiny"}
    assert b".py" not in tiny_pt2.read_bytes()


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemError('code ran')",))


def rewritten(source, target, changes=None, extra=None):
    """Copy an archive with some members changed by a function, and some added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/", 1)[0]
        for name in old.namelist():
            content = old.read(name)
            change = (changes or {}).get(name.removeprefix(f"{root}/"))
            new.writestr(name, change(content) if change else content)
        for name, content in (extra or {}).items():
            new.writestr(f"{root}/{name}", content)
    return target


def pickled_weights(content):
    config = json.loads(content)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config)


def target(name):
    return lambda content: content.replace(b"torch.ops.aten.gelu.default", name.encode())


def size(expression):
    def change(content):
        program = json.loads(content)
        values = program["graph_module"]["graph"]["tensor_values"]
        for value in values.values():
            for extent in value["sizes"]:
                if "as_expr" in extent:
                    extent["as_expr"]["expr_str"] = expression
        return json.dumps(program)

    return change


PROGRAM, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("changes", "extra"),
    [
        ({WEIGHTS: pickled_weights}, {}),
        ({PROGRAM: target("torch.load")}, {}),
        ({PROGRAM: target("os.system")}, {}),
        ({PROGRAM: target("torch.ops.aten.gelu.default.__class__")}, {}),
        ({PROGRAM: size("__import__('os').getpid()")}, {}),
        ({PROGRAM: size("Symbol.mro()")}, {}),
        ({"data/sample_inputs/model.pt": lambda _: pickle.dumps(Bomb())}, {}),
        ({}, {"data/constants/opaque_obj_0": pickle.dumps(Bomb())}),
        ({}, {"data/aotinductor/model/model.so": b"\x7fELF"}),
        ({}, {"data/weights/model.pt": pickle.dumps(Bomb())}),
    ],
)
def test_whatever_could_run_code_is_refused(tiny_pt2, tmp_path, changes, extra):
    path = rewritten(tiny_pt2, tmp_path / "bad.pt2", changes, extra)
    with pytest.raises(ExportError, match="could run code when it is loaded"):
        load_pt2(path)


def test_an_ordinary_pickle_and_a_cut_file_are_refused(tiny_pt2, tmp_path):
    cut = tmp_path / "cut.pt2"
    cut.write_bytes(tiny_pt2.read_bytes()[:-200])
    pickled = tmp_path / "pickle.pt2"
    stream = io.BytesIO()
    torch.save({"a": torch.ones(2)}, stream)
    pickled.write_bytes(stream.getvalue())
    for path in (cut, pickled):
        with pytest.raises(ExportError, match="bad.pt2|cut.pt2|pickle.pt2"):
            load_pt2(path)


def test_a_program_with_two_inputs_is_no_classifier(tmp_path):
    class Two(torch.nn.Module):
        def forward(self, a, b):
            return (a + b).flatten(1)

    path = tmp_path / "two.pt2"
    torch.export.save(torch.export.export(Two(), (torch.ones(1, 3, 2, 2),) * 2), path)
    with pytest.raises(ExportError, match="2 inputs and 1 outputs"):
        load_pt2(path)


def test_images_of_another_dtype_are_refused(tiny, tmp_path):
    export_pt2(copy.deepcopy(tiny).double(), (3, 8, 8), tmp_path / "double.pt2")
    with pytest.raises(ExportError, match="takes images of torch.float64; a classifier takes fp32"):
        load_pt2(tmp_path / "double.pt2")


def test_a_zip_of_an_unknown_version_is_a_sentence(tiny_pt2, tmp_path):
    content = bytearray(tiny_pt2.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 6] = 99  # the version that is needed to extract
    path = tmp_path / "new.pt2"
    path.write_bytes(content)
    with pytest.raises(ExportError, match="is not a whole .pt2 file"):
        load_pt2(path)
