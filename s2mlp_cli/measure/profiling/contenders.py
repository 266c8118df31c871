"""Making an implementation ready to be timed, or finding the reason why it must not be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from s2mlp_cli.measure.profiling.checks import Checker
from s2mlp_cli.measure.profiling.device import Device, Run, is_out_of_memory
from s2mlp_cli.measure.profiling.workloads import Case, Workload, build_workload
from s2mlp_cli.records.profile import Memory
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import Implementation, MixerKernel

WARM_UP_CALLS = 3
"""Calls before anything is timed: allocators, caches of kernels, autotuners."""

WARM_UP_SECONDS = 1.0
"""A call that takes longer is warm after one."""

SAMPLE_SECONDS = 1e-3
"""A sample takes at least about this long, so that the clock's own cost does not show."""

MOST_CALLS = 1000

BARE = "the same without its shifts: its result is wrong by design"


@dataclass(frozen=True)
class Contender:
    """An implementation that was checked and warmed up."""

    run: Run
    calls: int
    error: float | None = None
    reference: str | None = None
    memory: Memory | None = None


@dataclass(frozen=True)
class Skipped:
    """Why an implementation is not timed, and how wrong it was if that is why."""

    reason: str
    error: float | None = None


class Preparation:
    """Prepares the contenders of one case; the oracle's results are computed once."""

    def __init__(self, case: Case, device: Device) -> None:
        self._case = case
        self._device = device
        self._checker: Checker | None = None

    def prepare(self, shift: str | None) -> Contender | Skipped:
        """Build, check and warm up one implementation.

        Running out of memory, a dtype or an operation that the device does not have, what cannot
        be compiled and a result that is wrong are reasons to skip. Every other fault is a bug and
        is raised.
        """
        reason = not_applicable(self._case, shift)
        if reason:
            return Skipped(reason)
        try:
            return self._ready(shift)
        except (RuntimeError, MemoryError) as error:  # NotImplementedError is a RuntimeError
            if is_out_of_memory(error):
                return Skipped(f"out of memory at batch {self._case.batch_size}")
            if is_of_compiler(error):
                return Skipped(f"torch.compile: {first_line(error)}")
            if is_unsupported(error):
                return Skipped(f"{self._case.dtype} on {self._case.device}: {first_line(error)}")
            raise

    def _ready(self, shift: str | None) -> Contender | Skipped:
        checked = shift not in (None, "none")
        if checked and self._checker is None:
            self._checker = Checker(self._case)
        held_before = self._device.held()
        with self._case.context():
            workload = build_workload(self._case, shift)
        error = None
        if checked and self._checker is not None:
            check = self._checker.check(workload)
            if check.fault:
                return Skipped(check.fault, check.error)
            error = check.error
        contender = self._warm(workload, held_before)
        return replace(contender, error=error, reference=BARE if shift == "none" else None)

    def _warm(self, workload: Workload, held_before: int | None) -> Contender:
        with self._case.context():
            for _ in range(WARM_UP_CALLS):
                if self._device.seconds(workload.run, 1, cold=False) > WARM_UP_SECONDS:
                    break
            memory = self._memory(workload, held_before)
            run = self._device.graph(workload.run) if self._case.cuda_graph else workload.run
            once = self._device.seconds(run, 1, cold=False)
        calls = min(math.ceil(SAMPLE_SECONDS / once), MOST_CALLS) if once > 0 else MOST_CALLS
        return Contender(run, calls, memory=memory)

    def _memory(self, workload: Workload, held_before: int | None) -> Memory:
        """Return what this workload holds and needs by itself, whatever else is in memory."""
        held_now = self._device.held()
        peak = self._device.peak(workload.run)
        memory = Memory(weights_bytes=workload.weights_bytes)
        if held_before is None or held_now is None or peak is None:
            return memory
        held = held_now - held_before
        return memory.model_copy(
            update={
                "peak_allocated_bytes": held + peak.allocated,
                "peak_reserved_bytes": held + peak.reserved,
                "activations_bytes": peak.allocated,
            }
        )


def not_applicable(case: Case, shift: str | None) -> str | None:
    """Return why ``shift`` has no place in ``case`` or cannot run on its device, or None."""
    if shift is None:
        return None
    implementation = registry.get(shift)
    if case.level == "op" and shift == "none":
        return "nothing to time: it returns its input"
    if case.level == "op" and not case.directions:
        return "the spec shifts nothing"
    return _kernel_not_applicable(case, implementation) or implementation.unavailable(
        torch.device(case.device)
    )


def _kernel_not_applicable(case: Case, implementation: Implementation) -> str | None:
    if not isinstance(implementation, MixerKernel):
        return None
    if case.level == "op":
        return "replaces the whole mixer: see the levels block and model"
    if case.mode == "training" and not implementation.trains:
        return "has no gradient: inference only"
    return None


def is_unsupported(error: BaseException) -> bool:
    """Tell whether torch says that it has no such operation for this dtype or device."""
    text = str(error)
    return isinstance(error, NotImplementedError) or any(
        phrase in text for phrase in ("not implemented for", "not supported", "unsupported")
    )


def is_of_compiler(error: BaseException) -> bool:
    """Tell whether torch.compile raised it, without importing the compiler (a second or two)."""
    return any(base.__module__.startswith("torch._dynamo") for base in type(error).__mro__)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message: torch's go on for pages."""
    return (str(error).splitlines() or [type(error).__name__])[0]
