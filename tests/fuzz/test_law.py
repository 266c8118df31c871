"""The watchdog really barks, and bites where barking is not heard."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import law


def _endless():
    with law.watchdog(0.05):
        while True:
            pass


def test_an_endless_loop_is_stopped():
    with pytest.raises(law.HangError):
        _endless()


def test_a_block_that_ends_is_left_alone():
    with law.watchdog(0.05):
        pass
    sum(range(10**6))


def test_what_no_signal_reaches_ends_the_process():
    """Python handles no signal while C code runs; the stack is shown all the same."""
    code = (
        "import hashlib; from tests.fuzz import law\n"
        "with law.watchdog(0.05): hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert 'File "<string>", line 2' in done.stderr
