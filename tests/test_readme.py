"""Every console block of the README is run; where it shows output, the output is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.readme import README, Example, examples, run, tidy

TEXT = README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks, in the order of the README: one may read what another wrote."""
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("example", examples(TEXT), ids=lambda example: example.command)
def test_console_block(example: Example, folder: Path):
    if example.mark == "not run":
        pytest.skip("needs what a test does not have: ImageNet, several GPUs or the network")
    assert example.command.startswith("s2mlp "), example.command
    done = run(example, folder)
    assert done.returncode == 0, done.stderr
    if example.mark != "varies":
        assert tidy(done.stdout) == tidy(example.output)


def test_the_users_three_lines_stand_in_the_readme():
    for line in ("count --model v2-medium", "profile --shift conv", "validate --ckpt path"):
        assert f"s2mlp {line}" in TEXT


def test_every_command_is_in_the_readme():
    from s2mlp_cli.cli import COMMANDS

    assert [name for name in COMMANDS if f"s2mlp {name}" not in TEXT] == []
