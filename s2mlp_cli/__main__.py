"""``python -m s2mlp_cli`` is the same program as ``s2mlp`` (torchrun needs a module)."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import NoReturn


def program() -> None:
    """Run the command line and end the process at once.

    An interpreter that ends by itself first frees the million objects that importing torch has
    made, one by one: a fifth of the time of a `count`, after everything is printed.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    try:
        from s2mlp_cli.cli import main  # here, so that a Ctrl-C during it shows no traceback

        main()
    except SystemExit as end:
        atexit._run_exitfuncs()  # multiprocessing ends its children here, logging closes its files
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def _leave(*_: object) -> NoReturn:
    os.write(2, b"stopped\n")
    os._exit(130)


if __name__ == "__main__":
    program()
