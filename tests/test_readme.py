"""Every console block of the README is run; where it shows output, the output is compared."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import pytest

from s2mlp_cli.sample import CHECKPOINT, IMAGES
from tests.readme import README, Example, check_options, examples, run, tidy

TEXT = README.read_text(encoding="utf-8")
EXAMPLES = examples(TEXT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks, in the order of the README: one may read what another wrote."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def data(folder: Path) -> None:
    """What the README's reader has: a checkpoint called ``path``, and images in two forms."""
    shutil.copy(CHECKPOINT, folder / "path")
    with tarfile.open(IMAGES) as archive:
        archive.extractall(folder / "data" / "imagenet" / "val", filter="data")
    images = sorted((folder / "data" / "imagenet" / "val").rglob("*.png"))
    shutil.copytree(folder / "data" / "imagenet" / "val", folder / "data" / "val")
    with tarfile.open(folder / "data" / "ILSVRC2012_img_val.tar", "w") as archive:
        for image in images:
            archive.add(image, image.name)
    rows = [f"{image.name},{image.parent.name}" for image in images]
    (folder / "data" / "labels.csv").write_text("\n".join(["file,label", *rows]))


def of(*marks: str | None) -> list[Example]:
    return [example for example in EXAMPLES if example.mark in marks]


@pytest.mark.parametrize("example", of(None, "varies"), ids=lambda example: example.command)
def test_console_block(example: Example, folder: Path):
    assert example.command.startswith("s2mlp "), example.command
    done = run(example, folder)
    assert done.returncode == 0, done.stderr
    if example.mark != "varies":
        assert tidy(done.stdout) == tidy(example.output)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("example", of("your data"), ids=lambda example: example.command)
def test_console_block_on_small_data(example: Example, folder: Path):
    done = run(example, folder)
    assert done.returncode == 0, done.stderr
    assert "98.33%" in done.stdout


@pytest.mark.parametrize("example", of("not run"), ids=lambda example: example.command)
def test_the_options_of_what_takes_too_long_exist(example: Example):
    if example.command.startswith("make "):
        target = example.command.removeprefix("make ")
        assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text(), re.MULTILINE)
    else:
        check_options(example.command)


def test_the_users_three_lines_stand_in_the_readme():
    for line in ("count --model v2-medium", "profile --shift conv", "validate --ckpt path"):
        assert f"s2mlp {line}" in TEXT


def test_every_command_is_in_the_readme():
    from s2mlp_cli.cli import COMMANDS

    assert [name for name in COMMANDS if f"s2mlp {name}" not in TEXT] == []
