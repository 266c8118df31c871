"""A model is exported, proven and kept; what cannot be proven is not."""

import math
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from s2mlp_cli import sample
from s2mlp_cli.errors import ExportError, GateError
from s2mlp_cli.measure import exporting
from s2mlp_cli.measure.exporting import calibration_batches, export
from s2mlp_cli.measure.proving import Reference
from s2mlp_cli.measure.source import module_model, open_model
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.runtimes.facts import Facts
from s2mlp_cli.runtimes.sessions import read_facts
from tests.runtimes.conftest import Tiny

SMALL = ("stages.0.depth=1", "stages.1.depth=1", "stages.0.dim=32", "stages.1.dim=64")


def small():
    return open_model("v2-small", overrides=SMALL, input_size=(56, 56))


def test_random_weights_are_said_to_be_random_and_zero_tensors_are_drawn(tmp_path):
    result = export(small(), tmp_path / "m.pt2", shift="roll")
    assert result.notes[0] == "the weights are random: the file is for timing and tests"
    assert all(proof.same_top1 is None for proof in result.proofs)


def test_a_batch_can_be_fixed(tmp_path):
    result = export(small(), tmp_path / "m.onnx", batch_size=4)
    assert result.batch_size == 4
    assert (result.shift, result.form) == ("fused", "functional")
    assert [proof.batch_size for proof in result.proofs] == [4]


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2"])
def test_another_size_is_that_of_the_file_its_metadata_and_its_proof(tmp_path, name):
    digits = open_model(None, sample.CHECKPOINT, input_size=(24, 16))
    result = export(digits, tmp_path / name, batch_size=170)
    facts = read_facts(tmp_path / name)
    inside = Preprocessing.model_validate_json(facts.metadata["s2mlp.preprocessing"])
    assert facts.image[1:] == inside.input_size == result.image[1:] == (24, 16)
    # The last of two batches of the sample's 300 images is not a whole one.
    assert [(p.images, p.count) for p in result.proofs] == [("random", 170), ("sample", 300)]
    assert "s2mlp.torch" in facts.metadata
    assert ("s2mlp.onnx" in facts.metadata) == (name == "m.onnx")


def test_calibration_takes_the_size_of_the_file_and_names_who_wrote_it(tmp_path):
    digits = open_model(None, sample.CHECKPOINT, input_size=(24, 24))
    images = calibration_batches(digits, sample.IMAGES, 20)
    assert [batch.shape[1:] for batch in images] == [(3, 24, 24)] * 2
    path = tmp_path / "m.onnx"
    result = export(digits, path, precision="int8", calibration=images)
    assert (result.calibration, result.image) == (20, (3, 24, 24))
    assert {"s2mlp.onnx", "s2mlp.onnxscript", "s2mlp.onnxruntime"} <= set(read_facts(path).metadata)


def test_calibration_needs_a_model_of_rgb_images():
    grey = open_model("v2-small", overrides=SMALL, in_channels=1)
    with pytest.raises(ExportError, match="reads RGB images, and .* takes 1 channels"):
        calibration_batches(grey, sample.IMAGES, 1)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_checker_of_onnx_reads_every_file(tmp_path, monkeypatch, precision):
    model = module_model(Tiny().eval(), (8, 8))
    export(model, tmp_path / "m.onnx", precision=precision)
    name = {"fp32": "export_onnx", "fp16": "to_fp16", "int8": "to_int8"}[precision]
    write = getattr(exporting, name)

    def damaged(*arguments):
        write(*arguments)
        path = next(each for each in reversed(arguments) if isinstance(each, Path))
        content = onnx.load(path)
        content.graph.node[0].attribute.append(onnx.helper.make_attribute("no_such", 1))
        onnx.save(content, path)

    monkeypatch.setattr(exporting, name, damaged)
    with pytest.raises(ExportError, match="not valid ONNX .*no_such"):
        export(model, tmp_path / "bad.onnx", precision=precision)
    assert not (tmp_path / "bad.onnx").exists()


class Constant(nn.Module):
    """Returns the same for every image."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(5))

    def forward(self, images):
        return self.bias + 0 * images.mean((1, 2, 3), keepdim=True).flatten(1)


def test_a_constant_reference_proves_nothing_and_nothing_is_kept(tmp_path):
    path = tmp_path / "constant.pt2"
    with pytest.raises(GateError, match="nearly the same logits for every image"):
        export(module_model(Constant(), (8, 8)), path)
    assert not path.exists()


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    path = tmp_path / "wrong.pt2"
    path.write_bytes(b"the old file")

    def other_weights(module, *rest):
        with torch.no_grad():
            module.head.weight.mul_(1.01)
        export_pt2(module, *rest)

    export_pt2 = exporting.export_pt2
    monkeypatch.setattr(exporting, "export_pt2", other_weights)
    model = module_model(Tiny().eval(), (8, 8))
    with pytest.raises(GateError, match="was not kept: it is off eager float32 by"):
        export(model, path)
    assert path.read_bytes() == b"the old file"


class Session:
    """A runtime that answers with what it is told."""

    runtime, precision = "made up", "fp32"
    facts = Facts(None, (3, 8, 8), 5, "fp32", {}, {})

    def __init__(self, run):
        self.run = run


@pytest.mark.parametrize(
    ("off", "fault"),
    [
        (0.2, "it is off eager float32 by 0.2"),  # of logits around 1000
        (0.02, "it is off eager float32 by 0.02"),  # small beside them, but not beside their spread
        (math.nan, "it returns logits that are not finite numbers"),
        (0.0, None),
    ],
)
def test_an_error_counts_beside_the_logits_and_beside_what_tells_images_apart(off, fault):
    class Alike(nn.Module):
        def forward(self, images):
            return 1000 + images.flatten(1)[:, :5]

    reference = Reference(module_model(Alike(), (8, 8)))
    session = Session(lambda images: 1000 + off + images.reshape(len(images), -1)[:, :5])
    _, _, said = reference.proof(session, 4)
    assert said is None if fault is None else said.startswith(fault)


class Sensitive(nn.Module):
    """Magnifies rounding, as a softmax over sums of a thousand positions does."""

    def forward(self, images):
        logits = images.flatten(1)[:, :5]
        return logits + 0.1 * torch.sin(3e4 * logits)


def test_a_model_that_magnifies_rounding_is_allowed_what_it_does_to_eager_pytorch():
    reference = Reference(module_model(Sensitive(), (8, 8)))
    assert 1e-4 < 8 * reference._rounding("fp32") < 1e-2
    for off, kept in ((1e-3, True), (0.1, False)):

        def run(images, off=off):
            return reference.module(torch.from_numpy(images)).numpy() + off

        _, allowed, said = reference.proof(Session(run), 4)
        assert (said is None) == kept
        assert 1e-4 < allowed < 1e-2


def test_a_model_without_shifts_is_compared_in_float32_when_its_file_is_bfloat16(tmp_path):
    path = tmp_path / "tiny.pt2"
    torch.manual_seed(0)
    result = export(module_model(Tiny().eval(), (8, 8)), path, precision="bf16", shift="roll")
    assert result.proofs[0].relative_error > 1e-4
    assert result.notes == ("Tiny has no spatial shift: --shift roll changes nothing",)


def test_random_weights_are_the_same_each_time_and_zeros_are_drawn():
    first, second = (Reference(small()) for _ in range(2))
    for one, other in zip(first.module.parameters(), second.module.parameters(), strict=True):
        assert one.any()
        assert torch.equal(one, other)


class Pairs(nn.Module):
    """Takes two images at a time, whatever it is asked for."""

    def forward(self, images):
        return (images * torch.ones(2, 1, 1, 1)).flatten(1)[:, :5]


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_a_batch_that_the_exporter_fixed_is_refused(tmp_path, ending):
    with pytest.raises(ExportError, match="fixes the number of images in the file"):
        export(module_model(Pairs(), (8, 8)), tmp_path / f"m{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "precision", "says"),
    [
        (
            "m.onnx",
            "bf16",
            ".onnx files have no bf16 here; choose --precision fp32 or fp16 or int8",
        ),
        ("m.pt2", "int8", ".pt2 files have no int8 here; choose --precision fp32 or bf16"),
        ("m.bin", "fp32", "end it with .onnx or .pt2"),
    ],
)
def test_what_a_format_does_not_have_is_said_at_once(tmp_path, path, precision, says):
    with pytest.raises(ExportError, match=says):
        export(small(), tmp_path / path, precision=precision)
