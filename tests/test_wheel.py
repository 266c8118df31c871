"""The built wheel, unpacked in an empty folder: it carries the specs and runs from anywhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=250,
    )
    return next(folder.glob("s2mlp-*.whl"))


def test_the_wheel_carries_the_specs_and_nothing_of_the_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "s2mlp_cli/model_specs/v2-medium.yaml" in names
    assert "s2mlp_cli/model_specs/spec.schema.json" in names
    assert "s2mlp_cli/papers/published.yaml" in names
    assert "s2mlp_cli/py.typed" in names
    roots = {name.split("/")[0] for name in names}
    assert roots == {"s2mlp_cli", next(root for root in roots if root.endswith(".dist-info"))}


def test_an_installed_wheel_counts_from_any_folder(wheel, tmp_path):
    site = tmp_path / "a folder with späces"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", site, wheel],
        check=True, capture_output=True, timeout=250,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "s2mlp_cli", "count", "--model", "v2-medium", "--format", "csv"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ",55269864," in done.stdout
