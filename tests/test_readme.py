"""Every console block of the README is run; where it shows output, the output is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(<!-- (?P<mark>[a-z ]+) -->\n)?```console\n(?P<body>.*?)```", re.DOTALL)
"""A block marked ``varies`` shows measured numbers: it is run, not compared. One marked
``not run`` needs what a test does not have (ImageNet, several GPUs, the network)."""


def blocks() -> list[tuple[str, str, str | None]]:
    """Return (command, expected output, mark) of every ``$`` line in a console block."""
    found = []
    for block in BLOCK.finditer(README):
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output, block["mark"]))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks, in the order of the README: one may read what another wrote."""
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize(("command", "expected", "mark"), blocks())
def test_console_block(command: str, expected: str, mark: str | None, folder: Path):
    if mark == "not run":
        assert command.startswith(("s2mlp ", "torchrun ", "pipx ", "make ", "git "))
        return
    assert command.startswith("s2mlp "), command
    done = subprocess.run(
        command.replace("s2mlp", f"{sys.executable} -m s2mlp_cli", 1),
        shell=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if mark != "varies":
        shown = [line.rstrip() for line in done.stdout.strip().splitlines()]
        assert shown == [line.rstrip() for line in expected.strip().splitlines()]


def test_the_users_three_lines_stand_in_the_readme():
    for line in (
        "s2mlp count --model v2-medium",
        "s2mlp profile --shift conv",
        "s2mlp validate --ckpt",
    ):
        assert line in README
