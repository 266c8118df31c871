"""The law that every file is held to, and the watchdog that enforces it."""

import faulthandler
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.command_line import invoke
from tests.fuzz import budget

# Characters of a sentence: ten times as many as stand in it before some are escaped.
LONGEST = 12_000

# Seconds on the clock for one on the processor before the process is ended: a long run of fuzzing
# goes on beside other work.
PATIENCE = 6 * budget.TIMES

# Where the last watchdog dumps the stack: the conftest puts pytest's own stderr here.
backstop = sys.__stderr__


class HangError(Exception):
    """An example took too long."""


@contextmanager
def watchdog(seconds):
    """Raise HangError in the block after so many seconds of computing.

    Time on the processor counts, so that a busy machine is no hang. What waits for ever, or is
    stuck inside C code where no signal is looked at, ends the whole process, with its stack.
    """

    def bark(*_):
        raise HangError(f"took longer than {seconds} s")

    faulthandler.dump_traceback_later(PATIENCE * seconds, exit=True, file=backstop)
    handler = signal.signal(signal.SIGPROF, bark)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        faulthandler.cancel_dump_traceback_later()


def hold(*arguments, names, gate=False):
    """Run a command and hold it to the law.

    Args:
        arguments: of the command line.
        names: of files, one of which a sentence has to mention.
        gate: the command may end with 3, as a gate that fails does.
    """
    before = _reset_peak()
    with watchdog(budget.SECONDS):
        result = invoke(*arguments)
    grown = _peak() - before
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError("a traceback instead of a sentence") from result.exception
    assert grown < budget.BYTES, f"took {grown / 2**20:.0f} MiB"
    answered = result.exit_code == 0 or (gate and result.exit_code == 3 and not result.stderr)
    if not answered:
        _hold_sentence(result, names)
    return result


def hold_data(data, *options, names):
    """Validate the sample's weights on some data, and hold that to the law."""
    options = ("--device", "cpu", "--workers", "0", *options)
    return hold("validate", "--ckpt", "sample", "--data", data, *options, names=names)


def _hold_sentence(result, names):
    *_, last = result.stderr.splitlines() or [""]
    assert result.exit_code == 1, result.stderr
    assert result.stderr.count("error: ") == 1, result.stderr
    assert last.startswith("error: "), result.stderr
    assert last.isprintable(), last
    assert len(last) < LONGEST, last
    assert any(str(name) in last for name in names), f"names no file: {last}"


def _reset_peak():
    """Forget the highest resident set so far; return the present one, in bytes (Linux)."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return _peak()


def _peak():
    status = Path("/proc/self/status")
    if not status.exists():  # no such bound on other systems
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
