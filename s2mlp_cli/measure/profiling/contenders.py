"""Making an implementation ready to be timed, or finding the reason why it must not be."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from s2mlp_cli.measure.profiling.checks import Checker
from s2mlp_cli.measure.profiling.device import Device, Run
from s2mlp_cli.measure.profiling.skipping import FAULTS, not_applicable, reason_to_skip
from s2mlp_cli.measure.profiling.workloads import Case, Workload, build_workload, draw_example
from s2mlp_cli.records.profile import Memory

# Calls before anything is timed: allocators, caches of kernels, autotuners.
WARM_UP_CALLS = 3

# A call that takes longer is warm after one.
WARM_UP_SECONDS = 1.0

# A sample takes at least about this long, so that the clock's own cost does not show.
SAMPLE_SECONDS = 1e-3

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
    """Prepares the contenders of one case; input and oracle's results are there once for all."""

    def __init__(self, case: Case, device: Device) -> None:
        self._case = case
        self._device = device
        self._checker: Checker | None = None
        self._example: Tensor | None = None

    def prepare(self, shift: str | None) -> Contender | Skipped:
        """Build, check and warm up one implementation.

        What :func:`~s2mlp_cli.measure.profiling.skipping.reason_to_skip` knows and a result that is
        wrong are reasons to skip. Every other fault is a bug and is raised.
        """
        reason = not_applicable(self._case, shift)
        if reason:
            return Skipped(reason)
        try:
            return self._ready(shift)
        except FAULTS as error:
            reason = reason_to_skip(error, self._case)
            if reason is None:
                raise
            return Skipped(reason)

    def _ready(self, shift: str | None) -> Contender | Skipped:
        checker = None if shift in (None, "none") else self._oracle()
        example = self._input()
        held_before = self._device.held()
        with self._case.context():
            workload = build_workload(self._case, shift, example)
        error = None
        if checker is not None:
            check = checker.check(shift, workload)
            if check.fault:
                return Skipped(check.fault, check.error)
            error = check.error
        contender = self._warm(workload, held_before)
        return replace(contender, error=error, reference=BARE if shift == "none" else None)

    def _oracle(self) -> Checker:
        if self._checker is None:
            self._checker = Checker(self._case)
        return self._checker

    def _input(self) -> Tensor:
        if self._example is None:
            with self._case.context():
                self._example = draw_example(self._case)
        return self._example

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
        """Return what this workload needs by itself, its input included, whatever else is held."""
        held_now = self._device.held()
        peak = self._device.peak(workload.run)
        memory = Memory(weights_bytes=workload.weights_bytes)
        if held_before is None or held_now is None or peak is None:
            return memory
        held = held_now - held_before + workload.example.nbytes
        return memory.model_copy(
            update={
                "peak_allocated_bytes": held + peak.allocated,
                "peak_reserved_bytes": held + peak.reserved,
                "activations_bytes": peak.allocated,
            }
        )
