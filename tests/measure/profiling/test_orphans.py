"""No way to end a run leaves a process at work: real ones, ended while memory is measured."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import members, needs_proc, wait_until

ROOT = Path(__file__).parent.parent.parent.parent
SCRIPT = """
import sys
from s2mlp_cli.measure.profiling.memory import child_memory
from s2mlp_cli.measure.profiling.workloads import ModelCase
from s2mlp_cli.measure.source import open_model

case = ModelCase(model=open_model("v2-small"), batch_size=16)  # takes a while
try:
    child_memory(case, "slice", 1)
except KeyboardInterrupt:
    sys.exit(130)
"""
# Processes when the server imports torch (itself, a tracker of resources), and with its child.
SERVER, CHILD = 3, 4


@needs_proc
@pytest.mark.parametrize(
    ("number", "to_all", "processes", "status"),
    [
        (signal.SIGINT, True, SERVER, 130),  # a terminal's Ctrl-C goes to the whole group
        (signal.SIGINT, True, CHILD, 130),
        (signal.SIGKILL, False, CHILD, -signal.SIGKILL),
    ],
)
def test_nobody_goes_on_and_nobody_complains(number, to_all, processes, status):
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert wait_until(lambda: len(members(run.pid)) >= processes)
    (os.killpg if to_all else os.kill)(run.pid, number)
    _, stderr = run.communicate(timeout=20)
    assert (run.returncode, stderr) == (status, "")
    assert wait_until(lambda: members(run.pid) == [], seconds=5)
