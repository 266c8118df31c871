"""One case with all its implementations: prepare, measure in rounds, make rows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from s2mlp_cli.measure.profiling.cases import blank_row
from s2mlp_cli.measure.profiling.compiling import fresh_compiler
from s2mlp_cli.measure.profiling.contenders import Contender, Preparation, Skipped
from s2mlp_cli.measure.profiling.device import Device
from s2mlp_cli.measure.profiling.products import matmul_macs
from s2mlp_cli.measure.profiling.remarks import telemetry_remarks
from s2mlp_cli.measure.profiling.rounds import Budget, Samples, measure_rounds
from s2mlp_cli.measure.profiling.rows import Timed, timed_row
from s2mlp_cli.measure.profiling.skipping import out_of_memory
from s2mlp_cli.measure.profiling.workloads import Case
from s2mlp_cli.measure.torch_support import is_out_of_memory, precision
from s2mlp_cli.records.profile import Limit, Memory, ProfileResult, ProfileSettings

# The name of an implementation; None for a model that has no shift.
Shift = str | None

# Measures (peak resident bytes, how much of it the runs added) on a CPU.
ChildMemory = Callable[[Case, Shift, int], tuple[int, int] | None]


@dataclass(frozen=True)
class Bench:
    """With what a case is measured: the device, the settings, and what tests replace.

    Attributes:
        device: where.
        settings: seed, time per row, hot or cold.
        threads: of the CPU.
        clock: of the time budget.
        memory_of: measures one workload's memory on a CPU.
    """

    device: Device
    settings: ProfileSettings
    threads: int
    clock: Callable[[], float]
    memory_of: ChildMemory


def measure_case(
    bench: Bench,
    case: Case,
    shifts: tuple[Shift, ...],
    limit: Limit | None,
    on_round: Callable[[float], None] = lambda elapsed: None,
) -> dict[Shift, ProfileResult]:
    """Measure ``case`` with all ``shifts`` in the same rounds.

    Args:
        bench: with what.
        case: what.
        shifts: implementations, the references among them.
        limit: the limits of the device, for the distance to them.
        on_round: told the seconds spent in rounds.

    Returns:
        A row for each, timed or skipped.
    """
    compiler = fresh_compiler() if case.compiled else nullcontext()
    with precision(case.dtype), compiler:
        prepared = _prepared(bench, case, shifts)
        ready = {shift: found for shift, found in prepared.items() if isinstance(found, Contender)}
        measured = _rounds(bench, case, ready, on_round)
    macs = matmul_macs(case)
    rows = {}
    for shift, found in prepared.items():
        row = blank_row(case, shift, bench.threads)
        if isinstance(found, Skipped):
            rows[shift] = row.model_copy(update={"skipped": found.reason, "error": found.error})
        elif not measured.samples[shift]:
            rows[shift] = row.model_copy(update={"skipped": out_of_memory(case)})
        else:
            timed = Timed(
                samples=tuple(measured.samples[shift]),
                calls=found.calls,
                error=found.error,
                reference=found.reference,
                memory=_memory(bench, case, shift, found.memory),
                remarks=measured.remarks(shift),
            )
            rows[shift] = timed_row(row, timed, measured.samples, macs=macs, limit=limit)
    return rows


def _prepared(
    bench: Bench, case: Case, shifts: tuple[Shift, ...]
) -> dict[Shift, Contender | Skipped]:
    """Prepare all; the oracle's results are let go before anything is timed."""
    preparation = Preparation(case, bench.device)
    return {shift: preparation.prepare(shift) for shift in shifts}


@dataclass(frozen=True)
class Measured:
    """What the rounds of a case gave.

    Attributes:
        samples: seconds, by implementation.
        exhausted: those that ran out of memory on the way.
        hardware: what moved in the hardware meanwhile.
    """

    samples: Samples
    exhausted: frozenset[Shift]
    hardware: tuple[str, ...]

    def remarks(self, shift: Shift) -> tuple[str, ...]:
        """Return what is doubtful about the samples of ``shift`` beside the samples themselves."""
        ended = "ran out of memory in the rounds: use a smaller --batch-size"
        return (*((ended,) if shift in self.exhausted else ()), *self.hardware)


def _rounds(
    bench: Bench, case: Case, ready: Mapping[Shift, Contender], on_round: Callable[[float], None]
) -> Measured:
    cold = case.level == "op" and not bench.settings.hot
    exhausted: set[Shift] = set()

    def sample(shift: Shift) -> float | None:
        contender = ready[shift]
        try:
            return bench.device.seconds(contender.run, contender.calls, cold=cold)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            exhausted.add(shift)
            return None

    seconds = bench.settings
    before = bench.device.telemetry()  # all are warm by now: an idle GPU's clock is another one
    with case.context(), _no_garbage_collection():
        samples = measure_rounds(
            tuple(ready),
            sample,
            reference="slice",
            budget=Budget(seconds.min_time_s * len(ready), seconds.max_time_s * len(ready)),
            seed=seconds.seed,
            clock=bench.clock,
            on_round=on_round,
        )
    hardware = telemetry_remarks(before, bench.device.telemetry())
    return Measured(samples, frozenset(exhausted), hardware)


def _memory(bench: Bench, case: Case, shift: Shift, known: Memory | None) -> Memory | None:
    """Complete what the device knows about a workload's memory by what a child process says.

    A child that compiles would mostly tell what the compiler needs: that stays empty.
    """
    if bench.device.torch_device.type != "cpu" or known is None or case.compiled:
        return known
    found = bench.memory_of(case, shift, bench.threads)
    if found is None:
        return known
    peak, added = found
    return known.model_copy(update={"peak_rss_bytes": peak, "activations_bytes": added})


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector from running within a sample; what is due is collected before."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
