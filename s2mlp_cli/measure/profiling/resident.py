"""Resident memory of a process while it runs something; as a program, while it runs one file.

``python -m s2mlp_cli.measure.profiling.resident FILE RUNTIME THREADS PRECISION B C H W`` prints two
numbers of bytes. That process has neither torch nor onnx in it: who deploys a file needs neither.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2mlp_cli.runtimes.sessions import start

# The first run fills the caches of the libraries; the second is what every later one is like.
RUNS = 2


@dataclass(frozen=True)
class Resident:
    """Bytes of a process: its peak while running, and how far that is over what it held before."""

    peak: int
    added: int


def resident_while(run: Callable[[], object]) -> Resident:
    """Run something that is ready, and return what this process needs for it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what is held now
    before = resident_bytes()
    for _ in range(RUNS):
        run()
    peak = peak_resident_bytes()
    return Resident(peak, max(peak - before, 0))


def resident_bytes() -> int:
    """Return the present resident set of this process."""
    return _status("VmRSS")


def peak_resident_bytes() -> int:
    """Return the highest resident set of this process since its peak was last reset."""
    return _status("VmHWM")


def _status(name: str) -> int:
    """Read a size out of Linux's description of this process."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise OSError(f"this system does not tell {name}")
    return int(found[1]) * 1024


def main(words: Sequence[str]) -> None:
    """Run the file that the words name, and print the peak and what running added."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    file, runtime, threads, precision, *shape = words
    run, *_ = start(Path(file), runtime, int(threads), precision or None)
    images = np.random.default_rng(0).standard_normal(tuple(map(int, shape)), np.float32)
    found = resident_while(lambda: run(images))
    print(found.peak, found.added)


def _end_with_parent() -> None:
    """Wait for the end of the process that asked, which holds the other end of this pipe."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
