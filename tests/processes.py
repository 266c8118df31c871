"""Watching what a command leaves behind: the processes of its session, as Linux lists them."""

import sys
import time
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def members(session):
    """Return the ids of the live processes of a session; one that has ended only waits (Z)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while the folder was read
            continue
        if int(own) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(condition, seconds=120):
    """Wait for ``condition()``, and return whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
