"""Peak resident memory of one workload on a CPU: what a child process needed that ran it alone.

The child is forked from a server that has imported torch and nothing else happened in, so that it
starts in milliseconds and carries none of the parent's tensors.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

from s2mlp_cli.measure.profiling.workloads import Case, build_workload
from s2mlp_cli.measure.torch_support import is_out_of_memory, precision

# The first run fills the caches of the libraries; the second is what every later one is like.
_RUNS = 2


def child_memory(case: Case, shift: str | None, threads: int) -> tuple[int, int] | None:
    """Run ``case`` in a child process and return its memory in bytes.

    Returns:
        (peak resident set, how far that is over the resident set before the first run), or None
        if the child died or ran out of memory.
    """
    context = _server()
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(sender, case, shift, threads), daemon=True)
    try:
        with sender:
            child.start()
        found: tuple[int, int] | None = receiver.recv()
    except (EOFError, ConnectionError):  # it or the server was killed: memory ran out, perhaps
        found = None
    finally:  # Ctrl-C too: nobody wants the answer any more
        receiver.close()
        if child.pid is not None:
            child.kill()
            child.join()
    return found


def _server() -> ForkServerContext | SpawnContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # The server and its children keep this mask: a Ctrl-C goes to the whole group of processes,
    # is the parent's to answer, and must not print a traceback of a server that imports torch.
    # Starting the tracker of resources unblocks the signal again: it is started before.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


def _measure(sender: Connection, case: Case, shift: str | None, threads: int) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        with precision(case.dtype):
            workload = build_workload(case, shift)
            before = resident_bytes()
            with case.context():
                for _ in range(_RUNS):
                    workload.run()
        peak = peak_resident_bytes()
        sender.send((peak, max(peak - before, 0)))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        sender.send(None)


def _end_with_parent() -> None:
    """Wait for the end of the process that asked, even by kill -9, and leave no orphan at work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def resident_bytes() -> int:
    """Return the present resident set of this process; its peak where there is no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_resident_bytes()
    return pages * resource.getpagesize()


def peak_resident_bytes() -> int:
    """Return the highest resident set of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
