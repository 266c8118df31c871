"""``profile``: every case with every implementation, in interleaved rounds, as a record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from s2mlp_cli.errors import RecordError, UnavailableError
from s2mlp_cli.measure.environment import environment as this_environment
from s2mlp_cli.measure.profiling.batches import find_largest_batch, fits
from s2mlp_cli.measure.profiling.case import Bench, ChildMemory, Shift, measure_case
from s2mlp_cli.measure.profiling.cases import (
    DEFAULT_BATCH,
    LEVELS,
    REFERENCES,
    Request,
    blank_row,
    cases,
)
from s2mlp_cli.measure.profiling.contenders import not_applicable
from s2mlp_cli.measure.profiling.device import Device, open_device
from s2mlp_cli.measure.profiling.limits import measure_limits
from s2mlp_cli.measure.profiling.memory import child_memory
from s2mlp_cli.measure.profiling.precision import require_dtype
from s2mlp_cli.measure.profiling.remarks import machine_remarks, telemetry_remarks
from s2mlp_cli.measure.profiling.workloads import Case
from s2mlp_cli.measure.tracing.writing import run_name, trace_case
from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.profile import (
    Level,
    Limit,
    Mode,
    ProfileRecord,
    ProfileResult,
    ProfileSettings,
)
from s2mlp_cli.shifts import registry
from s2mlp_cli.spec import BaseSpec

OnProgress = Callable[[str, float, float], None]
"""(what is being measured, seconds of measuring done, seconds that it may take at most)."""


def profile(
    spec: BaseSpec,
    shifts: tuple[str, ...] = (),
    *,
    device: str | None = None,
    dtype: str = "fp32",
    batch_size: int | None = None,
    levels: tuple[Level, ...] = LEVELS,
    mode: Mode = "inference",
    threads: int | None = None,
    min_time_s: float = 0.5,
    max_time_s: float = 3.0,
    seed: int = 0,
) -> ProfileRecord:
    """Time implementations of the shift in ``spec``, from Python: what ``s2mlp profile`` does.

    On a CPU, memory is measured in child processes: a script should call this under
    ``if __name__ == "__main__":``, as with everything that uses multiprocessing.

    Args:
        spec: what :func:`s2mlp_cli.spec.load_spec` returned.
        shifts: names; ``slice`` and ``none`` are measured beside them.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None is the GPU if there is one.
        dtype: fp32, tf32, bf16 or fp16.
        batch_size: images; None is 1 on a CPU and 64 on a GPU.
        levels: of op, block and model.
        mode: inference or training.
        threads: of the CPU; None is all cores.
        min_time_s: seconds per row that are spent at least.
        max_time_s: seconds per row that are spent at most.
        seed: of the order in the rounds.

    Raises:
        UnavailableError: no such device or implementation, or the device lacks the dtype.
    """
    place = open_device(device)
    here = this_environment()
    request = Request(
        specs=(spec,),
        shifts=shifts,
        levels=levels,
        dtypes=(dtype,),
        batch_sizes=(batch_size or DEFAULT_BATCH[place.torch_device.type],),
        mode=mode,
        threads=threads or here.cpu_count,
    )
    settings = ProfileSettings(seed=seed, min_time_s=min_time_s, max_time_s=max_time_s)
    return Profiler(request, settings, place, here, command=("profile",)).run()


class Profiler:
    """Measures one request on one device, and has the record of it at any moment.

    Args:
        request: what to measure.
        settings: how.
        device: where.
        environment: of this machine, for the record.
        command: the words of the command line, for the record.
        previous: an earlier record; its rows are kept and not measured again.
        clock: of the time budget.
        memory_of: measures one workload's memory on a CPU.

    Raises:
        UnavailableError: the device lacks a dtype, or the implementations are not known.
        RecordError: ``previous`` was measured elsewhere.
    """

    def __init__(
        self,
        request: Request,
        settings: ProfileSettings,
        device: Device,
        environment: Environment,
        *,
        command: tuple[str, ...] = (),
        previous: ProfileRecord | None = None,
        clock: Callable[[], float] = time.perf_counter,
        memory_of: ChildMemory = child_memory,
    ) -> None:
        for shift in request.shifts:
            registry.get(shift)
        for dtype in request.dtypes:
            require_dtype(device.torch_device, dtype)
        if request.cuda_graph and device.torch_device.type != "cuda":
            raise UnavailableError("--cuda-graph needs a CUDA device; leave it out on a CPU")
        if previous is not None:
            _require_same_place(previous.environment, environment)
            _require_same_way(previous.settings, settings)
        self.request = request
        self._settings = settings
        self.device = device
        self._bench = Bench(device, settings, request.threads, clock, memory_of)
        self._environment = environment
        self._command = command
        self._rows: list[ProfileResult] = list(previous.results) if previous else []
        self._limits = {limit.dtype: limit for limit in previous.limits} if previous else {}
        self._largest: dict[Case, int] = {}
        self._remarks = dict.fromkeys(previous.warnings if previous else ())

    @property
    def record(self) -> ProfileRecord:
        """What has been measured up to now."""
        record: ProfileRecord = ProfileRecord.new(
            command=self._command,
            environment=self._environment,
            settings=self._settings,
            limits=tuple(self._limits.values()),
            warnings=tuple(self._remarks),
            results=tuple(self._rows),
        )
        return record

    def run(
        self,
        on_rows: Callable[[ProfileRecord], None] = lambda record: None,
        on_progress: OnProgress = lambda what, done, total: None,
    ) -> ProfileRecord:
        """Measure all that is missing.

        Args:
            on_rows: given the record after each case, to save it.
            on_progress: told what is being measured.

        Raises:
            UnavailableError: ``max`` was asked for and not even one image fits.
        """
        self._remark(machine_remarks())
        with _threads(self.request.threads):
            planned = [
                (case, missing) for case in self._cases() if (missing := self._missing(case))
            ]
            total = sum(map(self._seconds, planned))
            done = 0.0
            for case, missing in planned:
                self._measure(case, missing, _Progress(on_progress, describe(case), done, total))
                done += self._seconds((case, missing))
                on_rows(self.record)
        return self.record

    def _measure(self, case: Case, missing: tuple[Shift, ...], progress: _Progress) -> None:
        progress("limits and checks of ", 0.0)
        before = self.device.telemetry()
        limit = self._limit(case.dtype)
        rows = measure_case(
            self._bench,
            case,
            self._with_references(case, missing),
            limit,
            on_round=lambda elapsed: progress("", elapsed),
        )
        self._rows.extend(rows[shift] for shift in missing)
        self._remark(telemetry_remarks(before, self.device.telemetry()))

    def trace(self, folder: Path) -> Iterator[Path]:
        """Trace each whole model with each implementation that was not found wrong or unfit.

        Yields:
            The folder of each run, below ``folder``.
        """
        unfit = {
            (row.model, row.shift)
            for row in self._rows
            if row.skipped and (row.error is not None or row.level == "model")
        }
        with _threads(self.request.threads):
            for case in self._cases(levels=("model",)):
                for shift in self.request.contenders(case.spec):
                    if (case.spec.name, shift) not in unfit and not not_applicable(case, shift):
                        run = folder / run_name(case, shift)
                        trace_case(case, shift, run)
                        yield run

    def _cases(self, levels: tuple[Level, ...] | None = None) -> Iterator[Case]:
        request = replace(self.request, levels=levels or self.request.levels)
        return cases(request, str(self.device.torch_device), self._largest_batch)

    def _missing(self, case: Case) -> tuple[Shift, ...]:
        present = {row.key for row in self._rows}
        return tuple(
            shift
            for shift in self.request.contenders(case.spec)
            if blank_row(case, shift, self.request.threads).key not in present
        )

    def _with_references(self, case: Case, missing: tuple[Shift, ...]) -> tuple[Shift, ...]:
        known = self.request.contenders(case.spec)
        return tuple(shift for shift in known if shift in missing or shift in REFERENCES)

    def _seconds(self, planned: tuple[Case, tuple[Shift, ...]]) -> float:
        """Return how long the rounds of a case may take."""
        return self._settings.max_time_s * len(self._with_references(*planned))

    def _limit(self, dtype: str) -> Limit:
        if dtype not in self._limits:
            self._limits[dtype] = measure_limits(self.device, dtype)
        return self._limits[dtype]

    def _largest_batch(self, case: Case) -> int:
        if case not in self._largest:
            found = find_largest_batch(lambda batch: fits(case, batch))
            self._largest[case] = found
            self._remark(
                (f"{case.spec.name}, {case.dtype}: the largest batch that fits is {found}",)
            )
        return self._largest[case]

    def _remark(self, remarks: tuple[str, ...]) -> None:
        self._remarks.update(dict.fromkeys(remarks))


class _Progress:
    """Turns the seconds of one case into the progress of the whole run."""

    def __init__(self, tell: OnProgress, what: str, done: float, total: float) -> None:
        self._tell, self._what, self._done, self._total = tell, what, done, total

    def __call__(self, stage: str, elapsed: float) -> None:
        self._tell(stage + self._what, self._done + elapsed, self._total)


def describe(case: Case) -> str:
    """Return the few words that a progress bar shows: ``v2-small op stage 0, batch 1, fp32``."""
    stage = "" if case.stage is None else f" stage {case.stage}"
    return f"{case.spec.name} {case.level}{stage}, batch {case.batch_size}, {case.dtype}"


def _require_same_place(before: Environment, here: Environment) -> None:
    """Refuse to continue a record on another machine or another torch: rows would not compare."""
    for what in ("cpu", "gpus", "packages"):
        old, new = getattr(before, what), getattr(here, what)
        if what == "packages":
            old, new = old.get("torch"), new.get("torch")
        if old != new:
            name = "torch" if what == "packages" else what
            raise RecordError(
                f"the record to resume was measured with {name} {old}, here it is {new}; "
                "start a new one without --resume"
            )


def _require_same_way(before: ProfileSettings, now: ProfileSettings) -> None:
    """Refuse to mix rows that mean different things: a record says once how all were timed."""
    for what in ("host_time", "hot"):
        if getattr(before, what) != getattr(now, what):
            how = "with" if getattr(before, what) else "without"
            raise RecordError(
                f"the record to resume was measured {how} --{what.replace('_', '-')}; "
                "do the same, or start a new one without --resume"
            )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
