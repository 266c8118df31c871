"""Making an implementation ready to be timed, or finding the reason why it must not be.

A contender is what takes turns in the rounds: a call, checked and warmed up. Whatever can be made
into a :class:`~s2mlp_cli.measure.profiling.workloads.Workload` can become one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from s2mlp_cli.errors import ExportError, UnavailableError, UserCodeError
from s2mlp_cli.measure.profiling.checks import Check, Checker
from s2mlp_cli.measure.profiling.compiling import Compiling
from s2mlp_cli.measure.profiling.deployed import DeployedFiles, cannot_deploy
from s2mlp_cli.measure.profiling.device import Device, Run
from s2mlp_cli.measure.profiling.workloads import (
    Candidate,
    Case,
    OpCase,
    Workload,
    build_workload,
    draw_example,
    splits_of,
)
from s2mlp_cli.measure.torch_support import (
    first_line,
    is_of_compiler,
    is_of_triton,
    is_out_of_memory,
    is_unsupported,
)
from s2mlp_cli.records.base import BASELINE, FLOORS, REFERENCE, changed
from s2mlp_cli.records.profile import TORCH, Memory, ProfileResult
from s2mlp_cli.shifts import registry, triton_support
from s2mlp_cli.shifts.contender import foreign
from s2mlp_cli.shifts.types import MixerKernel
from s2mlp_cli.user_code import described

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


@dataclass(frozen=True)
class Contender:
    """An implementation that was checked and warmed up.

    Attributes:
        run: the call that is timed; a sample is the mean of ``row.calls_per_sample`` of them.
        row: its row, which lacks what timing tells.
        workload: what was built for it.
    """

    run: Run
    row: ProfileResult
    workload: Workload


@dataclass
class Preparation:
    """Prepares the contenders of one case; input and reference are computed once for all."""

    case: Case
    device: Device
    files: DeployedFiles
    compiling: Compiling = field(default_factory=Compiling)
    _checkers: dict[str, Checker] = field(default_factory=dict, init=False)

    def prepare(self, candidate: Candidate, row: ProfileResult) -> Contender | ProfileResult:
        """Build, check and warm up one implementation, or return its row with the reason to skip.

        What :func:`reason_to_skip` knows, and a wrong result, are reasons. Every other fault is a
        bug and is raised.

        Args:
            candidate: the implementation in a runtime.
            row: its row, with nothing measured yet.
        """
        reason = unsupported(self.case, candidate)
        if reason:
            return changed(row, skipped=reason)
        try:
            return self._ready(candidate, row)
        except Exception as error:
            reason = reason_to_skip(error, self.case)
            own = foreign(candidate.shift)
            if reason is None and own:
                reason = f"fails here: {described(error, own.shift.code.path)}"
            if reason is None:
                raise
            return changed(row, skipped=reason)

    def _ready(self, candidate: Candidate, row: ProfileResult) -> Contender | ProfileResult:
        case, device, compiling = self.case, self.device, self.compiling
        example, compiled_s, held = self._example, compiling.seconds, device.held()
        with case.context():
            if candidate.runtime == TORCH:
                workload = build_workload(case, candidate.shift, example)
            else:
                workload = self.files.workload(candidate, example)
        check = self._check(candidate, workload)
        if check and check.fault:
            return changed(row, skipped=check.fault, error=check.error)
        with case.context():
            if not self._warmed_up(workload.run):
                again = f"torch.compile: compiles anew in {MOST_WARM_UP_CALLS} calls"
                return changed(row, skipped=again)
            memory = self._memory(workload, held)
            run = device.graph(workload.run) if case.cuda_graph else workload.run
            once = device.seconds(run, 1, cold=False)
        calls = min(math.ceil(SAMPLE_SECONDS / once), MOST_CALLS) if once > 0 else MOST_CALLS
        session = workload.session
        ready = changed(
            row,
            error=check.error if check else None,
            reference=BARE.get(candidate.shift or ""),
            calls_per_sample=calls,
            memory=memory,
            compile_s=compiling.seconds - compiled_s if case.compile else None,
            runtime_version=session.version if session else None,
            runtime_precision=session.precision if session else None,
            warnings=tuple(_remarks(case, candidate, workload)),
        )
        return Contender(run, ready, workload)

    def _check(self, candidate: Candidate, workload: Workload) -> Check | None:
        """Compare with the reference; a floor is wrong, and what has no shifts is its own."""
        if workload.session:
            return self.files.check(candidate, workload.session, self.case.batch_size)
        if candidate.shift in (None, *FLOORS):
            return None
        own = foreign(candidate.shift)
        reference = own.reference if own else REFERENCE
        if reference not in self._checkers:
            self._checkers[reference] = Checker(self.case, reference)
        return self._checkers[reference].check(candidate.shift, workload)

    @cached_property
    def _example(self) -> Tensor:
        with self.case.context():
            return draw_example(self.case)

    def _warmed_up(self, run: Run) -> bool:
        """Call until nothing is compiled any more; False if that never ends."""
        for call in range(1, MOST_WARM_UP_CALLS + 1):
            compiled = self.compiling.count
            seconds = self.device.seconds(run, 1, cold=False)
            enough = call >= WARM_UP_CALLS or seconds > WARM_UP_SECONDS
            if enough and self.compiling.count == compiled:
                return True
        return False

    def _memory(self, workload: Workload, held_before: int | None) -> Memory:
        """Return what this workload needs by itself, its input included, whatever else is held."""
        held_now = self.device.held()
        peak = self.device.peak(workload.run)
        if held_before is None or held_now is None or peak is None:
            return Memory(weights_bytes=workload.weights_bytes)
        held = held_now - held_before + workload.example.untyped_storage().nbytes()
        return Memory(
            weights_bytes=workload.weights_bytes,
            peak_allocated_bytes=held + peak.allocated,
            peak_reserved_bytes=held + peak.reserved,
            activations_bytes=peak.allocated,
        )


def _remarks(case: Case, candidate: Candidate, workload: Workload) -> Iterator[str]:
    """Yield what a reader must know to compare a row with its neighbours."""
    session, own = workload.session, foreign(candidate.shift)
    if session and session.threads != torch.get_num_threads():
        yield f"{candidate.runtime} computes with {session.threads} threads"
    if workload.copies:
        yield "it changes its input, so each call gets a copy, which its time includes"
    read = own.found.read if own else None
    if isinstance(case, OpCase) and read and not read.follows:
        moves = tuple(move.direction for move in read.decoded.moves)
        if moves != case.directions:
            yield (
                f"it does other work than {BASELINE}: it moves {', '.join(moves)}, and {BASELINE} "
                f"moves {', '.join(case.directions)}"
            )


def unsupported(case: Case, candidate: Candidate) -> str | None:
    """Return why ``candidate`` has no place in ``case`` or cannot run on its device, or None."""
    undeployed = cannot_deploy(case, candidate) if candidate.runtime != TORCH else None
    if undeployed or candidate.shift is None:
        return undeployed
    own = foreign(candidate.shift)
    if own:
        return own.misfit(() if isinstance(case, OpCase) else splits_of(case.model))
    implementation = registry.get(candidate.shift)
    of_triton = implementation.unavailable is triton_support.unavailable
    kernel = implementation if isinstance(implementation, MixerKernel) else None
    reasons = {
        "nothing to time: it returns its input": case.level == "op" and candidate.shift == "none",
        "the spec shifts nothing": isinstance(case, OpCase) and not case.directions,
        "replaces the whole mixer: see the levels block and model": kernel and case.level == "op",
        "has no gradient: inference only": (
            kernel and not kernel.trains and case.mode == "training"
        ),
        "Triton's interpreter only checks values (see `s2mlp verify`): unset TRITON_INTERPRET": (
            of_triton and triton_support.interpreted()
        ),
    }
    found = next((reason for reason, applies in reasons.items() if applies), None)
    return found or implementation.unavailable(torch.device(case.device))


def reason_to_skip(error: BaseException, case: Case) -> str | None:
    """Return what ``error`` says against running ``case``; None: it is a bug, to be raised.

    Running out of memory, what cannot be compiled or captured, a kernel that does not fit the card,
    a dtype or an operation that the device lacks, and whatever fails in code that is not this
    project's are reasons.
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
    own = case.model.is_own
    return None if own else f"its forward pass fails: {described(error, case.model.path)}"


def out_of_memory(case: Case) -> str:
    """Return the reason to skip what does not fit, with the size that failed."""
    return f"out of memory at batch {case.batch_size}"
