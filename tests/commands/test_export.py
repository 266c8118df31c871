"""``s2mlp export`` as a user runs it, and what it says where it cannot."""

import errno
import hashlib
import resource
import shutil

import pytest
from click.testing import CliRunner

from s2mlp_cli import sample
from s2mlp_cli.commands.compare import command as compare
from s2mlp_cli.commands.export import command
from s2mlp_cli.errors import ExportError, UnavailableError, WriteError
from s2mlp_cli.measure import exporting
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.reading import read_record
from s2mlp_cli.runtimes import packages
from s2mlp_cli.views.export import sheet, view


def run(*arguments, of=command):
    return CliRunner().invoke(of, [str(each) for each in arguments], standalone_mode=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The digits in float32 and in int8, with their records."""
    folder = tmp_path_factory.mktemp("exported")
    for precision in ("fp32", "int8"):
        done = run(
            *("--ckpt", "sample", "--shift", "conv", "--precision", precision),
            *("-o", folder / f"{precision}.onnx", "--record", folder / f"{precision}.json"),
        )
        assert done.exception is None, done.exception
        (folder / f"{precision}.txt").write_text(done.stdout)
    return folder


def test_the_answer_names_file_size_error_and_images(exported):
    answer = (exported / "fp32.txt").read_text()
    words = " ".join(answer.split())
    assert "fp32.onnx: sample, fp32, conv, any batch, 0.2 MiB; onnxruntime differs" in words
    assert "on 304 images, with the same top-1 on 304 of 304." in words
    assert "opset 20" in words


def test_the_sample_is_proven_on_its_own_images(exported):
    (result,) = read_record(exported / "fp32.json").results
    content = (exported / "fp32.onnx").read_bytes()
    assert (result.bytes, result.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [(p.images, p.batch_size) for p in result.proofs] == [
        ("random", 1), ("random", 3), ("sample", 300),
    ]  # fmt: skip
    assert result.proofs[-1].same_top1 == result.proofs[-1].count == 300
    assert all(proof.relative_error < 1e-4 < proof.spread for proof in result.proofs)
    assert (result.shift, result.batch_size, result.opset, result.notes) == ("conv", None, 20, ())
    assert result.form is None


def test_int8_names_its_products_and_reports_its_error_without_a_bound(exported):
    (result,) = read_record(exported / "int8.json").results
    assert result.nodes["MatMulInteger"] == len(result.quantised) > 5
    assert result.source.path == "sample"
    assert result.allowed is None
    assert result.proofs[-1].relative_error > 1e-3
    assert result.proofs[-1].same_top1 >= 295


def test_the_answer_and_the_sheet_give_the_largest_of_each_error(exported):
    record = read_record(exported / "int8.json")
    (result,) = record.results
    first, *others = result.proofs
    rough = changed(first, largest_error=0.125, relative_error=0.5)
    fine = [changed(each, largest_error=7.25, relative_error=0.25) for each in others]
    record = changed(record, results=(changed(result, proofs=(rough, *fine)),))
    (answer,) = view(record).answers
    assert "differs from eager float32 by at most 7.2, and by at most 0.5 of the largest" in answer
    assert sheet(record).rows[0][-2:] == (7.25, 0.5)


def test_int8_is_compared_with_float32(exported):
    done = run(exported / "fp32.json", exported / "int8.json", of=compare)
    words = " ".join(done.stdout.split())
    for what in ("size", "nodes", "relative error, sample images", "same top-1, sample images"):
        assert what in words


@pytest.mark.parametrize("ending", ["csv", "md"])
def test_the_record_is_a_sheet_too(tmp_path, exported, ending):
    from s2mlp_cli.commands.output import save

    save(read_record(exported / "fp32.json"), tmp_path / f"r.{ending}")
    header, *rows = (tmp_path / f"r.{ending}").read_text().replace("\\", "").splitlines()
    assert "relative_error" in header
    assert "fp32.onnx" in rows[-1]


def test_calibration_takes_images_of_any_data(tmp_path):
    record = tmp_path / "r.json"
    done = run(
        *("--ckpt", "sample", "--shift", "conv", "--precision", "int8"),
        *("--calibrate", sample.IMAGES, "--images", 40),
        *("-o", tmp_path / "m.onnx", "--record", record),
    )
    assert done.exception is None
    (result,) = read_record(record).results
    assert result.calibration == 40
    assert result.proofs[-1].same_top1 >= 290
    assert "calibrated on 40 images" in done.stdout


def test_the_model_has_to_be_named():
    done = run("-o", "m.onnx")
    assert "name what to export: --model NAME, or --ckpt FILE" in str(done.exception)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.pt2"
    path.write_bytes(b"old")

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    done = run("--ckpt", "sample", "--shift", "conv", "-o", path)
    assert isinstance(done.exception, WriteError)
    assert "free some space" in str(done.exception)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["m.pt2"]


def test_a_system_that_takes_no_more_bytes_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.pt2"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        done = run("--ckpt", "sample", "--shift", "conv", "-o", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(done.exception, ExportError)
    assert "cannot write temporary files: File too large" in str(done.exception)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["m.pt2"]


def test_an_unwritable_file_is_found_before_the_export(tmp_path, monkeypatch):
    def never(*arguments):
        raise AssertionError("exported for nothing")

    monkeypatch.setattr(exporting, "export_pt2", never)
    done = run("--ckpt", "sample", "-o", tmp_path / "missing" / "m.pt2")
    assert "there is no folder" in str(done.exception)


def test_an_exported_file_is_not_exported_again(exported):
    done = run("--model", exported / "fp32.onnx", "-o", exported / "again.onnx")
    assert isinstance(done.exception, ExportError)
    assert "is exported already; give the checkpoint or the spec" in str(done.exception)


def test_without_onnx_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "_there", lambda name: name == "torch")
    done = run("--ckpt", "sample", "-o", tmp_path / "m.onnx")
    assert isinstance(done.exception, UnavailableError)
    assert "pip install onnx onnxscript onnxruntime openvino" in str(done.exception)
