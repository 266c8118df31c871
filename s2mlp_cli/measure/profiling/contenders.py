"""Making an implementation ready to be timed, or finding the reason why it must not be.

A contender is what takes turns in the rounds: a call, checked and warmed up. Whatever can be made
into a :class:`~s2mlp_cli.measure.profiling.workloads.Workload` can become one.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from s2mlp_cli.errors import ExportError, UnavailableError, UserCodeError
from s2mlp_cli.measure.profiling.checks import Checker
from s2mlp_cli.measure.profiling.deployed import DeployedFiles, cannot_deploy
from s2mlp_cli.measure.profiling.device import Device, Run
from s2mlp_cli.measure.profiling.workloads import (
    Candidate,
    Case,
    OpCase,
    Workload,
    build_workload,
    draw_example,
)
from s2mlp_cli.measure.source import ExportedModel
from s2mlp_cli.measure.torch_support import (
    first_line,
    is_of_compiler,
    is_of_triton,
    is_out_of_memory,
    is_unsupported,
)
from s2mlp_cli.records.base import FLOORS
from s2mlp_cli.records.profile import TORCH, Memory
from s2mlp_cli.runtimes.sessions import Session
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import MixerKernel

# Largest relative difference to the reference that an exported file may show, as `s2mlp export`
# allows it; what int8 costs is reported and not judged.
FILE_TOLERANCE: dict[str, float | None] = {"fp32": 1e-4, "int8": None}

# Calls before anything is timed: allocators, caches of kernels, autotuners.
WARM_UP_CALLS = 3

# A call that takes longer is warm after one.
WARM_UP_SECONDS = 1.0

# One that still compiles after so many calls would compile in the rounds, too.
MOST_WARM_UP_CALLS = 12

# A sample takes at least about this long, so that the clock's own cost does not show.
SAMPLE_SECONDS = 1e-3

MOST_CALLS = 1000

BARE = {
    "none": "the same without its shifts: its result is wrong by design",
    "products": "the mixers' matrix products alone: its result is wrong by design",
}

_CONSTANT = "the model returns one number for everything: its check proves nothing"

# Compiled versions of one function of ours: every implementation of a case is one of a block.
_MOST_VERSIONS = 64

# Said by the compiler, and of no concern: it traces through the cache of `gather`'s indices, which
# become a part of the graph, and right; Python 3.13.0 alone has slower guards.
_HARMLESS = {
    r"Dynamo detected a call to a `functools.lru_cache`": UserWarning,
    "Guards may run slower on Python": RuntimeWarning,
}

# Logs where it would look for CUDA if there were one; a CPU's compiler does not care.
_CUDA_HOME = "torch.utils.cpp_extension"


@dataclass(frozen=True)
class Contender:
    """An implementation that was checked and warmed up.

    Attributes:
        run: the call that is timed; a sample is the mean of ``calls`` of them.
        error: largest relative difference to the reference; None where it was not checked.
        reference: why its result need not be right, or None.
        memory: what the device knows of it.
        compile_s: seconds that compiling it took; None where nothing is compiled.
        session: of the runtime that runs it, if that is not torch.
        remarks: what a reader should know about it.
    """

    run: Run
    calls: int
    error: float | None = None
    reference: str | None = None
    memory: Memory | None = None
    compile_s: float | None = None
    session: Session | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """Why an implementation is not timed, and how wrong it was if that is why."""

    reason: str
    error: float | None = None


class Compiling:
    """How often torch has compiled something, and how many seconds that took."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.count = 0
        self.seconds = 0.0
        self._clock = clock
        self._started = 0.0

    def start(self, *_: object) -> None:
        self._started = self._clock()

    def end(self, *_: object) -> None:
        self.count += 1
        self.seconds += self._clock() - self._started


@contextmanager
def fresh_compiler() -> Iterator[Compiling]:
    """Compile as if this case were the only one in the process, and count what is compiled.

    Dynamo keeps what it compiled by the code of a function, and all implementations run the same
    code of a block: at the ninth version it would go on uncompiled without an error, and at the
    second batch size it would compile for any size, which is slower. Here it starts from nothing,
    has room for all, and a limit that is hit is an error. What inductor wrote to its cache on the
    disk stays, and is found again by the processes that measure memory.
    """
    from torch._dynamo import config  # a second or two, for those who compile
    from torch._dynamo.callback import callback_handler

    torch.compiler.reset()
    compiling = Compiling()
    callback_handler.register_start_callback(compiling.start)
    callback_handler.register_end_callback(compiling.end)
    try:
        with (
            _without_remarks(),
            config.patch(
                recompile_limit=_MOST_VERSIONS,
                fail_on_recompile_limit_hit=True,
                automatic_dynamic_shapes=False,
            ),
        ):
            yield compiling
    finally:
        callback_handler.remove_start_callback(compiling.start)
        callback_handler.remove_end_callback(compiling.end)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep off stderr what the compiler says that is of no concern here."""
    logger = logging.getLogger(_CUDA_HOME)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for words, kind in _HARMLESS.items():
                warnings.filterwarnings("ignore", words, kind)
            yield
    finally:
        logger.setLevel(level)


class Preparation:
    """Prepares the contenders of one case; input and reference are computed once for all."""

    def __init__(
        self,
        case: Case,
        device: Device,
        files: DeployedFiles,
        compiling: Compiling | None = None,
    ) -> None:
        self._case = case
        self._device = device
        self._compiling = compiling or Compiling()
        self._files = files

    def prepare(self, candidate: Candidate) -> Contender | Skipped:
        """Build, check and warm up one implementation.

        What :func:`reason_to_skip` knows, and a wrong result, are reasons to skip. Every other
        fault is a bug and is raised.
        """
        reason = unsupported(self._case, candidate)
        if reason:
            return Skipped(reason)
        try:
            if candidate.runtime == TORCH:
                return self._ready(candidate.shift)
            return self._deployed(candidate)
        except Exception as error:
            reason = reason_to_skip(error, self._case)
            if reason is None:
                raise
            return Skipped(reason)

    def _ready(self, shift: str | None) -> Contender | Skipped:
        checker = None if shift in (None, *FLOORS) else self._checker
        example, before_s = self._example, self._compiling.seconds
        held_before = self._device.held()
        with self._case.context():
            workload = build_workload(self._case, shift, example)
        check = checker.check(shift, workload) if checker else None
        if check and check.fault:
            return Skipped(check.fault, check.error)
        with self._case.context():
            if not self._warmed_up(workload.run):
                return Skipped(f"torch.compile: compiles anew in {MOST_WARM_UP_CALLS} calls")
            memory = self._memory(workload, held_before)
            run = self._device.graph(workload.run) if self._case.cuda_graph else workload.run
            calls = self._calls(run)
        return Contender(
            run,
            calls=calls,
            error=check.error if check else None,
            reference=BARE.get(shift) if shift else None,
            memory=memory,
            compile_s=self._compiling.seconds - before_s if self._case.compile else None,
            remarks=workload.remarks,
        )

    def _deployed(self, candidate: Candidate) -> Contender | Skipped:
        """Export, open, check and warm up: what the runtime says of its precision must be right."""
        session = self._files.open(candidate)
        asked = candidate.precision or self._case.dtype
        if session.precision != asked:
            return Skipped(f"{session.runtime} computes in {session.precision} instead of {asked}")
        example, checker = self._example, None
        if candidate.shift not in FLOORS and not isinstance(self._case.model, ExportedModel):
            checker = self._checker
        workload = Workload(lambda: session.run(example), session.run, example, None)
        check = checker.check_file(workload, FILE_TOLERANCE[asked]) if checker else None
        if check and check.fault:
            return Skipped(check.fault, check.error)
        self._warmed_up(workload.run)
        remarks: tuple[str, ...] = () if checker is None or checker.proves else (_CONSTANT,)
        if session.threads != torch.get_num_threads():
            remarks += (f"{session.runtime} computes with {session.threads} threads",)
        return Contender(
            workload.run,
            calls=self._calls(workload.run),
            error=check.error if check else None,
            reference=BARE.get(candidate.shift) if candidate.shift else None,
            memory=Memory(unknown=f"not measured for {session.runtime}"),
            session=session,
            remarks=remarks,
        )

    def _calls(self, run: Run) -> int:
        """Return how many calls make a sample that is long enough."""
        once = self._device.seconds(run, 1, cold=False)
        return min(math.ceil(SAMPLE_SECONDS / once), MOST_CALLS) if once > 0 else MOST_CALLS

    @cached_property
    def _checker(self) -> Checker:
        return Checker(self._case)

    @cached_property
    def _example(self) -> Tensor:
        with self._case.context():
            return draw_example(self._case)

    def _warmed_up(self, run: Run) -> bool:
        """Call until nothing is compiled any more; False if that never ends."""
        for call in range(1, MOST_WARM_UP_CALLS + 1):
            compiled = self._compiling.count
            seconds = self._device.seconds(run, 1, cold=False)
            enough = call >= WARM_UP_CALLS or seconds > WARM_UP_SECONDS
            if enough and self._compiling.count == compiled:
                return True
        return False

    def _memory(self, workload: Workload, held_before: int | None) -> Memory:
        """Return what this workload needs by itself, its input included, whatever else is held."""
        held_now = self._device.held()
        peak = self._device.peak(workload.run)
        if held_before is None or held_now is None or peak is None:
            return Memory(weights_bytes=workload.weights_bytes)
        held = held_now - held_before + workload.example.untyped_storage().nbytes()
        return Memory(
            weights_bytes=workload.weights_bytes,
            peak_allocated_bytes=held + peak.allocated,
            peak_reserved_bytes=held + peak.reserved,
            activations_bytes=peak.allocated,
        )


def unsupported(case: Case, candidate: Candidate) -> str | None:
    """Return why ``candidate`` has no place in ``case`` or cannot run on its device, or None."""
    reason = cannot_deploy(case, candidate) if candidate.runtime != TORCH else None
    return reason or _misplaced(case, candidate.shift)


def _misplaced(case: Case, shift: str | None) -> str | None:
    if shift is None:
        return None
    if isinstance(case, OpCase):
        if shift == "none":
            return "nothing to time: it returns its input"
        if not case.directions:
            return "the spec shifts nothing"
    implementation = registry.get(shift)
    if isinstance(implementation, MixerKernel):
        if case.level == "op":
            return "replaces the whole mixer: see the levels block and model"
        if case.mode == "training" and not implementation.trains:
            return "has no gradient: inference only"
    return implementation.unavailable(torch.device(case.device))


def reason_to_skip(error: BaseException, case: Case) -> str | None:
    """Return what ``error`` says against running ``case``; None: it is a bug, to be raised.

    Running out of memory, what cannot be compiled or captured, a kernel that does not fit the card,
    a dtype or an operation that the device lacks, and faults in the user's own code are reasons.
    """
    if is_out_of_memory(error):
        return out_of_memory(case)
    if is_of_compiler(error) or is_of_triton(error):
        return f"{'torch.compile' if is_of_compiler(error) else 'Triton'}: {first_line(error)}"
    if isinstance(error, (ExportError, UnavailableError, UserCodeError)):
        return str(error)
    if case.cuda_graph and "captur" in str(error):
        return f"cannot be captured as a CUDA graph: {first_line(error)}"
    if is_unsupported(error):
        return f"{case.dtype} on {case.device}: {first_line(error)}"
    return None


def out_of_memory(case: Case) -> str:
    """Return the reason to skip what does not fit, with the size that failed."""
    return f"out of memory at batch {case.batch_size}"
