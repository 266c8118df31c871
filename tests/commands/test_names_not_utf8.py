"""Names that are not UTF-8: read by their bytes, written as ``\\xe9``, and no result is lost."""

import json
import os
import shutil
import tarfile

import pytest
import yaml
from click.testing import CliRunner

from s2mlp_cli import sample
from s2mlp_cli.cli import group
from s2mlp_cli.records.predictions import load_predictions
from s2mlp_cli.records.reading import read_record
from tests.digits import tar_of
from tests.tiny import TINY

ODD = os.fsdecode(b"\xe9t\xe9")
TEXT = r"\xe9t\xe9"
RUN = ("--device", "cpu", "--workers", "0", "--input-size", "16", "--crop-pct", "1.0")


@pytest.fixture
def folder(tmp_path):
    """A folder of an odd name that holds the sample's weights and a spec, under odd names too."""
    place = tmp_path / ODD
    try:
        place.mkdir()
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    shutil.copy(sample.CHECKPOINT, place / f"{ODD}.safetensors")
    (place / f"{ODD}.yaml").write_text(yaml.safe_dump(TINY.model_dump(mode="json")))
    return place


@pytest.fixture
def images(digits, folder):
    """Class folders, one of them with an odd name that holds an image with another."""
    classes = [*map(str, range(9)), ODD]
    for name, digit, content in zip(digits.names, digits.classes, digits.files, strict=True):
        place = folder / "val" / classes[digit]
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    first = min((folder / "val" / ODD).iterdir())
    first.rename(first.with_name(f"{ODD}.JPEG"))
    return folder / "val"


def s2mlp(*arguments):
    done = CliRunner().invoke(
        group, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False
    )
    assert "\udce9" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_validation_keeps_its_result_its_predictions_and_its_progress(folder, images, ending):
    given = ("validate", "--ckpt", folder / f"{ODD}.safetensors", "--data", images, *RUN)
    files = {name: folder / f"{ODD}{name}" for name in (".json", "2.json", ending, f"2{ending}")}
    resume = folder / f"{ODD}.progress"
    s2mlp(*given, "-o", files[".json"], "--predictions", files[ending], "--resume", resume)
    again = s2mlp(*given, "-o", files["2.json"], "--predictions", files[f"2{ending}"],
                  "--resume", resume, "--format", "json", "--per-class")  # fmt: skip
    (result,) = json.loads(again)["results"]
    assert result["resumed_images"] == 100
    assert result["ckpt"]["path"].endswith(f"/{TEXT}/{TEXT}.safetensors")
    assert {row["name"] for row in result["per_class"]} == {*map(str, range(9)), TEXT}
    names = [row.name for row in load_predictions(files[ending])]
    assert f"{TEXT}/{TEXT}.JPEG" in names
    assert len(names) == 100
    # the record names the predictions as text, and they are found by their bytes
    assert "p = 1" in s2mlp("compare", files[".json"], files["2.json"])
    for report in ("md", "html"):
        s2mlp("report", files[".json"], "-o", folder / f"{ODD}.{report}")


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_broken_image_is_named_as_text(digits, folder, images, kind, tmp_path):
    data = images
    if kind == "folder":
        (images / "1" / f"{ODD}.png").write_bytes(b"no image")
    else:
        rows = zip(digits.classes, digits.names, digits.files, strict=True)
        members = {f"{digit}/{name}": content for digit, name, content in rows}
        data = tar_of(tmp_path / "digits.tar", {**members, f"1/{ODD}.png": b"no image"})
        with tarfile.open(data) as archive:
            assert f"1/{ODD}.png" in archive.getnames()
    said = s2mlp("validate", "--ckpt", "sample", "--data", data, *RUN, "--format", "json")
    (result,) = json.loads(said)["results"]
    assert [failure["name"] for failure in result["failures"]] == [f"1/{TEXT}.png"]
    assert result["images"] == 100


def test_other_commands_read_and_write_them(folder):
    spec = folder / f"{ODD}.yaml"
    for ending in ("json", "csv", "md"):
        s2mlp("count", "--model", spec, "-o", folder / f"{ODD}.{ending}")
    assert read_record(folder / f"{ODD}.json").results[0].spec["name"] == "tiny"
    s2mlp("show", spec)
    converted = folder / f"{ODD}.out.safetensors"
    s2mlp("convert", "--ckpt", folder / f"{ODD}.safetensors", "-o", converted)
    assert converted.stat().st_size > 100_000


def test_a_trace_is_written_into_them_and_read_back(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))  # as `python -m s2mlp_cli` run in such a folder does
    s2mlp("profile", "--model", folder / f"{ODD}.yaml", "--shift", "conv", "--level", "block",
          "--device", "cpu", "--min-time", "0", "--max-time", "0.05",
          "--trace", folder / ODD)  # fmt: skip
    s2mlp("trace", folder / ODD, "-o", folder / "trace.json")
    assert read_record(folder / "trace.json").results


def test_what_is_missing_is_named_as_text(folder):
    for given in (
        ("count", "--model", ODD),
        ("validate", "--ckpt", folder / ODD),
        ("validate", "--ckpt", "sample", "--data", folder / ODD),
        ("validate", "--ckpt", "sample", "--labels", folder / ODD, "--data", folder),
        ("report", folder / f"{ODD}.json"),
    ):
        with pytest.raises(Exception, match=r"\\xe9t\\xe9"):
            s2mlp(*given)
