"""Ending a long run in order, however it is told to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# Ctrl-C; what `kill`, batch systems and containers send; a terminal that is closed.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def stopped_once() -> Iterator[None]:
    """Let the first signal end the block by an exception; later ones find it ending already.

    So progress is saved, worker processes end and nothing half-written is left, and an impatient
    second Ctrl-C breaks none of it. A signal that is ignored from outside (`nohup`) stays so.

    Raises:
        KeyboardInterrupt: on SIGINT.
        SystemExit: on the others, with the shell's status for them, 128 + number.
    """
    signals = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    heard = [each for each in signals if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.getsignal(each) for each in heard}

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    finally:
        if any(signal.getsignal(each) is stop for each in heard):  # nothing stopped it
            for each, handler in before.items():
                signal.signal(each, handler)
