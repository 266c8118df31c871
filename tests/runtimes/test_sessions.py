"""Real runtimes run an exported file as PyTorch does, in the precision that they say."""

import os
import shutil
import subprocess
import sys

import onnx
import pytest
import torch

from s2mlp_cli.errors import ExportError, UnavailableError
from s2mlp_cli.runtimes import packages
from s2mlp_cli.runtimes.onnx_file import onnx_facts
from s2mlp_cli.runtimes.precision import to_fp16, to_int8
from s2mlp_cli.runtimes.sessions import open_session, unavailable

RUNTIMES = ("onnxruntime", "openvino")


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    return request.param


def logits(session, images):
    return torch.from_numpy(session.run(images.numpy()))


def test_a_runtime_computes_what_the_module_does_at_any_batch(tiny, tiny_onnx, images, runtime):
    session = open_session(tiny_onnx, runtime, threads=1)
    for batch in (1, 4):
        with torch.no_grad():
            torch.testing.assert_close(logits(session, images[:batch]), tiny(images[:batch]))
    assert (session.precision, session.threads) == ("fp32", 1)
    assert session.version


def test_a_result_is_not_overwritten_by_the_next_call(tiny_onnx, images, runtime):
    session = open_session(tiny_onnx, runtime)
    first = logits(session, images[:1])
    kept = first.clone()
    logits(session, images[1:2])
    assert torch.equal(first, kept)


def test_torch_runs_a_program(tiny, tiny_pt2, images):
    session = open_session(tiny_pt2)
    with torch.no_grad():
        assert torch.equal(logits(session, images), tiny(images))
    assert session.runtime == "torch"


def test_half_precision_says_in_what_it_is_computed_and_stays_near(
    tiny, tiny_onnx, images, tmp_path, runtime
):
    path = tmp_path / "half.onnx"
    to_fp16(tiny_onnx, path)
    session = open_session(path, runtime)
    assert session.facts.precision == onnx_facts(path).precision == "fp16"
    # onnxruntime has no products of float16 for a CPU, and casts them to float32; openvino on a CPU
    # without float16 arithmetic takes bfloat16.
    known = ("fp32",) if runtime == "onnxruntime" else ("fp16", "bf16", "fp32")
    assert session.precision in known
    with torch.no_grad():
        error = (logits(session, images) - tiny(images)).abs().max()
    assert 0 < error < (0.05 if session.precision == "bf16" else 0.01)


@pytest.mark.parametrize(
    ("static", "computed"),
    [
        (False, {"onnxruntime": "int8", "openvino": "fp32"}),
        (True, {"onnxruntime": "int8", "openvino": "int8"}),
    ],
)
def test_int8_names_what_it_quantised_and_in_what_it_is_computed(
    tiny, tiny_onnx, images, tmp_path, runtime, static, computed
):
    """openvino has no product of activations that are quantised at run time: it takes float32."""
    path = tmp_path / "int8.onnx"
    to_int8(tiny_onnx, path, [images.numpy()] if static else None)
    facts = onnx_facts(path)
    assert facts.precision == "int8"
    assert len(facts.quantised) == 2
    session = open_session(path, runtime)
    with torch.no_grad():
        error = (logits(session, images) - tiny(images)).abs().max()
    assert 0 < error < 0.2
    assert session.precision == computed[runtime]


def test_weights_alone_in_int8_are_multiplied_in_float32(tiny_onnx, images, tmp_path):
    model = onnx.load(tiny_onnx)
    weights = {each.name: each for each in model.graph.initializer}
    made = []
    for node in [each for each in model.graph.node if each.op_type == "Gemm"]:
        name = node.input[1]
        values = onnx.numpy_helper.to_array(weights[name])
        scale = abs(values).max() / 127
        stored = {"bits": (values / scale).round().astype("int8"), "scale": scale}
        for part, array in stored.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name + part))
        model.graph.initializer.remove(weights[name])
        parts = [name + part for part in stored]
        made.append(onnx.helper.make_node("DequantizeLinear", parts, [name]))
    for node in made:
        model.graph.node.insert(0, node)
    path = tmp_path / "stored.onnx"
    onnx.save(model, path)
    facts = onnx_facts(path)
    assert (facts.nodes["DequantizeLinear"], facts.quantised, facts.precision) == (2, (), "fp32")
    sessions = [open_session(path, runtime) for runtime in RUNTIMES]
    assert [session.precision for session in sessions] == ["fp32", "fp32"]
    torch.testing.assert_close(*(logits(session, images) for session in sessions))


def test_static_int8_does_not_depend_on_the_batch(tiny_onnx, images, tmp_path):
    dynamic, static = tmp_path / "dynamic.onnx", tmp_path / "static.onnx"
    to_int8(tiny_onnx, dynamic)
    to_int8(tiny_onnx, static, [images.numpy()])
    mixed = torch.cat([images[:1], 20 * images[1:]])

    def alone_and_among(path):
        session = open_session(path, "onnxruntime")
        return logits(session, images[:1])[0], logits(session, mixed)[0]

    alone, among = alone_and_among(static)
    assert torch.equal(alone, among)
    alone, among = alone_and_among(dynamic)
    assert not torch.equal(alone, among)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, tiny_onnx):
    monkeypatch.setattr(packages, "_there", lambda name: name != "openvino")
    assert unavailable("openvino") == (
        "openvino is not installed; run: pip install onnx onnxscript onnxruntime openvino"
    )
    with pytest.raises(UnavailableError, match="openvino is not installed"):
        open_session(tiny_onnx, "openvino")


def test_a_runtime_is_not_given_a_format_that_it_does_not_run(tiny_onnx, tiny_pt2):
    with pytest.raises(UnavailableError, match="torch does not run .onnx"):
        open_session(tiny_onnx, "torch")
    with pytest.raises(UnavailableError, match="onnxruntime does not run .pt2"):
        open_session(tiny_pt2, "onnxruntime")


def test_a_provider_that_is_not_there_is_named(tiny_onnx):
    with pytest.raises(UnavailableError, match="has no TensorrtExecutionProvider; it has .*CPU"):
        open_session(tiny_onnx, "onnxruntime-tensorrt")


def test_a_provider_that_is_offered_and_cannot_start_is_not_replaced_in_silence(
    tiny_onnx, monkeypatch
):
    """onnxruntime goes on with the CPU where, say, CUDA's libraries are missing."""
    import onnxruntime

    class OnTheCPU(onnxruntime.InferenceSession):
        def __init__(self, model, options, providers):
            super().__init__(model, options, providers=["CPUExecutionProvider"])

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnTheCPU)
    with pytest.raises(UnavailableError, match="cannot start its CUDAExecutionProvider here"):
        open_session(tiny_onnx, "onnxruntime-cuda")


def test_openvino_left_to_itself_says_which_precision_it_chose(tiny, tiny_onnx, images):
    told, chosen = (open_session(tiny_onnx, "openvino", auto=auto) for auto in (False, True))
    assert told.precision == "fp32"
    assert chosen.precision in ("fp32", "bf16", "fp16")
    with torch.no_grad():
        error = (logits(chosen, images) - tiny(images)).abs().max()
    assert (error < 1e-4) == (chosen.precision == "fp32")
    assert error < 0.1


@pytest.mark.parametrize("name", [b"\xe9.onnx", b"\xe9.pt2"])
def test_a_name_that_is_not_utf8(tiny, tiny_onnx, tiny_pt2, images, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    try:
        shutil.copy(tiny_pt2 if path.suffix == ".pt2" else tiny_onnx, path)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    for runtime in ("torch",) if path.suffix == ".pt2" else RUNTIMES:
        with torch.no_grad():
            torch.testing.assert_close(logits(open_session(path, runtime), images), tiny(images))


def test_sessions_of_onnx_import_no_torch(tiny_onnx):
    """A process that shows the memory of a runtime must not hold torch."""
    script = (
        "import sys; from pathlib import Path; from s2mlp_cli.runtimes.sessions import start; "
        f"start(Path({str(tiny_onnx)!r}), 'onnxruntime', 1, 'fp32'); "
        "print([name for name in ('torch', 'onnx') if name in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout == "[]\n"


def test_what_a_runtime_refuses_is_a_sentence(tiny_onnx, tmp_path, runtime):
    model = onnx.load(tiny_onnx)
    model.graph.node[0].op_type = "NoSuchOperator"
    path = tmp_path / "odd.onnx"
    onnx.save(model, path)
    with pytest.raises(ExportError, match=f"{runtime} cannot run .*odd.onnx"):
        open_session(path, runtime)


def test_a_fault_while_it_runs_is_a_sentence(tiny_onnx, runtime):
    session = open_session(tiny_onnx, runtime)
    with pytest.raises(ExportError, match=f"{runtime} cannot run .*tiny.onnx"):
        session.run(torch.zeros(1, 3, 9, 9).numpy())


def test_images_may_be_of_float16_in_a_file_of_others(tmp_path, runtime):
    helper, half = onnx.helper, onnx.TensorProto.FLOAT16
    values = [
        helper.make_tensor_value_info(name, half, shape)
        for name, shape in (("x", ["n", 3, 2, 2]), ("y", ["n", 12]))
    ]
    nodes = [helper.make_node("Flatten", ["x"], ["y"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 20)], ir_version=10,
    )  # fmt: skip
    onnx.save(model, tmp_path / "half.onnx")
    images = torch.randn(2, 3, 2, 2)
    found = logits(open_session(tmp_path / "half.onnx", runtime), images)
    torch.testing.assert_close(found, images.flatten(1).half().float())
