"""What a lent GPU is used for, without one: a stand-in for Python notes what it is told to run."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "on_a_gpu.sh"

# Fails where a word of its command line is in FAILS, and hangs where one is in HANGS.
PYTHON = """#!/usr/bin/env bash
echo "$*" >> "$LOG"
for word in $FAILS; do [[ " $* " == *" $word "* ]] && exit 1; done
for word in $HANGS; do [[ " $* " == *" $word "* ]] && sleep 60; done
exit 0
"""


@pytest.fixture
def run(tmp_path):
    """Run the script; return its status, its last line and the command lines in their order."""
    stand_in = tmp_path / "bin" / "python3"
    stand_in.parent.mkdir()
    stand_in.write_text(PYTHON)
    stand_in.chmod(0o755)
    log = tmp_path / "log"

    def call(*steps, fails="", hangs=""):
        log.write_text("")
        environment = {
            **os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}", "LOG": str(log),
            "FAILS": fails, "HANGS": hangs, "LIMIT": "1" if hangs else "30",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", SCRIPT, tmp_path / "out", *steps],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout.splitlines()[-1], log.read_text().splitlines()

    return call


def test_the_goals_numbers_come_first_and_each_profile_can_go_on(run):
    status, _, commands = run()
    profiles = [command for command in commands if " profile " in command]
    assert status == 0
    assert profiles[:2] == commands[:2]
    for command in profiles[:2]:
        assert "--model v2-medium --level model --dtype bf16 --batch-size 256" in command
    assert [("--compile" in command) for command in profiles[:2]] == [False, True]
    assert all("--resume" in command for command in profiles)


def test_a_step_that_fails_or_hangs_is_named_and_the_others_run_all_the_same(run):
    everything = run()[2]
    status, last, commands = run(fails="verify", hangs="v1-wide")
    assert (status, last) == (1, "failed: verify wide")
    assert commands == everything


def test_steps_are_chosen_by_name_and_a_wrong_one_is_refused(run):
    assert [words.split()[2] for words in run("verify", "goal")[2]] == ["profile", "verify"]
    status, last, _ = run("verfy")
    assert status == 2
    assert last.startswith("no step verfy; known: goal compiled verify")
