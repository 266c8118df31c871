"""What an ONNX file says of itself, and files that are no classifier of images."""

import onnx
import pytest
from onnx import helper

from s2mlp_cli.errors import ExportError
from s2mlp_cli.runtimes.onnx_file import onnx_facts

FLOAT = onnx.TensorProto.FLOAT


def test_facts_are_read_from_the_file(tiny_onnx):
    facts = onnx_facts(tiny_onnx)
    assert (facts.batch_size, facts.image, facts.classes) == (None, (3, 8, 8), 5)
    assert (facts.precision, facts.quantised) == ("fp32", ())
    assert facts.nodes["Gemm"] == 2
    assert facts.metadata["s2mlp.model"] == "tiny"


def test_no_path_of_the_machine_that_exported_is_inside(tiny_onnx):
    assert b".py" not in tiny_onnx.read_bytes()


def test_the_checker_of_onnx_passes(tiny_onnx):
    onnx.checker.check_model(onnx.load(tiny_onnx), full_check=True)


def graph(path, inputs, outputs, dtype=FLOAT):
    """Write a graph that adds its inputs up."""
    values = [helper.make_tensor_value_info(n, dtype, shape) for n, shape in inputs.items()]
    results = [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in outputs.items()]
    nodes = [helper.make_node("Sum", list(inputs), [name]) for name in outputs]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", values, results)), path)
    return path


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ({"a": [1, 3, 8, 8], "b": [1, 3, 8, 8]}, {"y": [1, 5]}, "2 inputs (a, b)"),
        ({"tokens": ["n", 77]}, {"y": ["n", 5]}, "tokens is of ?,77"),
        ({"x": ["n", 3, 8, 8]}, {"masks": ["n", 3, 8, 8]}, "returns ?,3,8,8"),
        ({"x": ["n", 3, 8, 8]}, {"y": ["n", 5], "z": ["n", 5]}, "returns ?,5 and ?,5"),
    ],
)
def test_files_of_another_task_are_refused(tmp_path, inputs, outputs, says):
    path = graph(tmp_path / "other.onnx", inputs, outputs)
    with pytest.raises(ExportError) as error:
        onnx_facts(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)


def test_images_of_integers_are_refused(tmp_path):
    path = graph(
        tmp_path / "u8.onnx", {"x": ["n", 3, 8, 8]}, {"y": ["n", 5]}, onnx.TensorProto.UINT8
    )
    with pytest.raises(ExportError, match="its input x is of UINT8; .* FLOAT or FLOAT16"):
        onnx_facts(path)


def test_a_file_that_was_cut_is_named(tiny_onnx, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(tiny_onnx.read_bytes()[:-100])
    with pytest.raises(ExportError, match="is not a whole .onnx file"):
        onnx_facts(cut)


def test_an_empty_file_is_not_whole(tmp_path):
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ExportError, match="is not a whole .onnx file .it has no graph"):
        onnx_facts(tmp_path / "empty.onnx")


def test_images_with_their_channels_last_are_named(tmp_path):
    path = graph(tmp_path / "nhwc.onnx", {"x": ["n", 16, 16, 3]}, {"y": ["n", 5]})
    with pytest.raises(ExportError, match="takes images of B,H,W,C with 3 channels"):
        onnx_facts(path)


def test_missing_external_data_is_named(tiny_onnx, tmp_path):
    path = tmp_path / "split.onnx"
    onnx.save(
        onnx.load(tiny_onnx), path, save_as_external_data=True, location="w.data", size_threshold=0
    )
    assert onnx_facts(path).classes == 5
    (tmp_path / "w.data").unlink()
    with pytest.raises(ExportError, match="keeps its weights in w.data, which is missing"):
        onnx_facts(path)


def test_a_missing_file_and_a_folder_are_sentences(tmp_path):
    with pytest.raises(ExportError, match="there is no file"):
        onnx_facts(tmp_path / "none.onnx")
    with pytest.raises(ExportError, match="cannot read"):
        onnx_facts(tmp_path)
