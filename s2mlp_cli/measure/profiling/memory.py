"""Peak resident memory of one workload on a CPU: what a process needs that runs it alone.

Each workload of torch runs in a child that is forked from a server, which has imported torch and
done nothing else: the child starts in milliseconds and carries none of the parent's tensors. An
exported file runs in a new process, which has no torch.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np

from s2mlp_cli.measure.profiling import resident
from s2mlp_cli.measure.profiling.compiling import fresh_compiler
from s2mlp_cli.measure.profiling.resident import RUNS, Resident, resident_while
from s2mlp_cli.measure.profiling.workloads import Case, build_workload
from s2mlp_cli.measure.torch_support import first_line, is_out_of_memory, precision
from s2mlp_cli.shifts.contender import Travelling, beside, foreign, reopen_shift

_PAGE = resource.getpagesize()

# Bytes of a page's entry in /proc/PID/pagemap, and its bit for a page that is in memory.
_ENTRY = 8
_PRESENT = np.uint64(1 << 63)


def child_memory(case: Case, shift: str | None, threads: int) -> Resident | str:
    """Run ``case`` in a child process and return its memory, or why it is not known.

    A timing was made before, so that nothing that goes wrong here may end the run.
    """
    if case.model.source.kind == "module":
        return "not measured for a module that a Python program passed"
    try:
        return _asked(_server(), case, shift, threads)
    except Exception as error:  # noqa: BLE001
        return f"the helper process cannot start ({type(error).__name__}: {first_line(error)})"


def file_memory(
    file: Path, runtime: str, threads: int, precision: str | None, shape: tuple[int, ...]
) -> Resident | str:
    """Run an exported file in a process that has nothing else in it, and return its memory.

    Args:
        file: of ONNX.
        runtime: what runs it.
        threads: of the CPU.
        precision: of the file; None lets openvino choose.
        shape: of the images.
    """
    words = [sys.executable, "-m", resident.__name__, str(file), runtime, str(threads)]
    words += [precision or "", *map(str, shape)]
    quiet = subprocess.DEVNULL
    try:
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True
        ) as child:
            assert child.stdout is not None
            try:
                peak, added = map(int, child.stdout.read().split())
            finally:
                child.kill()
    except ValueError:
        return f"the helper process ended early (exit status {child.returncode}): out of memory?"
    except OSError as error:
        return f"the helper process cannot start ({first_line(error)})"
    return Resident(peak, added)


def _asked(
    context: ForkServerContext, case: Case, shift: str | None, threads: int
) -> Resident | str:
    receiver, sender = context.Pipe(duplex=False)
    own = foreign(shift)
    user = own.travelling if own else None
    child = context.Process(target=_measure, args=(sender, case, shift, user, threads), daemon=True)
    try:
        with sender:
            child.start()
        answer: Resident | str = receiver.recv()
    except (EOFError, ConnectionError):
        if child.pid is None:
            return "the helper process was killed before it started: out of memory?"
        child.join()
        return f"the helper process was killed (exit status {child.exitcode}): out of memory?"
    finally:  # Ctrl-C too: nobody wants the answer any more
        receiver.close()
        if child.pid is not None:
            child.kill()
            child.join()
    return answer


def _server() -> ForkServerContext:
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


def _measure(
    sender: Connection,
    case: Case,
    shift: str | None,
    user: Travelling | None,
    threads: int,
) -> None:
    """Send the memory, or a sentence; ``user``: what ``shift`` is where a user wrote it."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        touch_libraries_of(os.getppid())
        if user:
            reopen_shift(*user)
        with (
            case.model.running(),
            beside([shift]),
            precision(case.dtype),
            _compiler() if case.compile else nullcontext(),
        ):
            sender.send(_resident(case, shift))
    except Exception as error:  # noqa: BLE001  (the parent has a row to say it in)
        if is_out_of_memory(error):
            sender.send("out of memory in the helper process")
        else:
            sender.send(f"the helper process failed ({type(error).__name__}: {first_line(error)})")


def _resident(case: Case, shift: str | None) -> Resident:
    """Build, then run; what building needed for a while does not count."""
    with case.context():
        workload = build_workload(case, shift)
        for _ in range(RUNS if case.compile else 0):  # the compiler is no part of a run
            workload.run()
        return resident_while(workload.run)


@contextmanager
def _compiler() -> Iterator[None]:
    """Compile in this process alone; most is in inductor's cache, where the parent left it."""
    from torch._inductor import config

    with fresh_compiler(), config.patch(compile_threads=1):
        yield


def touch_libraries_of(server: int) -> None:
    """Read a byte of every page of a file that the process ``server`` has in memory.

    A fork inherits the server's own memory as resident, but pages of libraries only when it first
    touches them: without this, most of torch would be missing in the child's resident set.
    """
    maps = Path("/proc/self/maps").read_text()
    with open(f"/proc/{server}/pagemap", "rb") as pagemap:
        for low, high, rights, inode in re.findall(
            r"^(\w+)-(\w+) (\S+) \w+ \S+ (\d+)", maps, re.MULTILINE
        ):
            if inode == "0" or not rights.startswith("r"):
                continue
            start, end = int(low, 16), int(high, 16)
            pagemap.seek(start // _PAGE * _ENTRY)
            entries = np.frombuffer(pagemap.read((end - start) // _PAGE * _ENTRY), np.uint64)
            for page in np.flatnonzero(entries & _PRESENT).tolist():
                ctypes.string_at(start + page * _PAGE, 1)


def _end_with_parent() -> None:
    """Wait for the end of the process that asked, even by kill -9, and leave no orphan at work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
