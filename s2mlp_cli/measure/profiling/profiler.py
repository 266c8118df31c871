"""Every case of a request in turn, what is missing only, and the record of it at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from s2mlp_cli.errors import SpecError, UnavailableError
from s2mlp_cli.measure.profiling.batches import find_largest_batch, fits
from s2mlp_cli.measure.profiling.case import Bench, ChildMemory, Shift, measure_case
from s2mlp_cli.measure.profiling.cases import REFERENCES, Request, blank_row, cases
from s2mlp_cli.measure.profiling.device import Device
from s2mlp_cli.measure.profiling.limits import measure_limits
from s2mlp_cli.measure.profiling.memory import child_memory
from s2mlp_cli.measure.profiling.remarks import machine_remarks
from s2mlp_cli.measure.profiling.resuming import require_same, runs_before
from s2mlp_cli.measure.profiling.skipping import not_applicable
from s2mlp_cli.measure.profiling.workloads import Case
from s2mlp_cli.measure.torch_support import require_dtype
from s2mlp_cli.measure.tracing.writing import Trace, try_to_trace
from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.profile import Level, Limit, ProfileRecord, ProfileResult, ProfileSettings
from s2mlp_cli.shifts import registry

# (what is being measured, seconds of measuring done, seconds that it may take at most).
OnProgress = Callable[[str, float, float], None]


class Profiler:
    """Measures one request on one device, and has the record of it at any moment.

    All implementations of a case are measured in the same rounds, so their rows come together,
    when the case is done: what is interrupted within a case is lost, and measured anew.

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
        RecordError: the rows of ``previous`` would not compare with those measured now.
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
        _require_runnable(request, device)
        self._specs = {spec.name: spec.model_dump(mode="json") for spec in request.specs}
        if previous is not None:
            require_same(previous, environment, settings, self._specs)
        self.request = request
        self._settings = settings
        self.device = device
        self._bench = Bench(device, settings, request.threads, clock, memory_of)
        self._environment = environment
        self._command = command
        self._previous = previous
        self._measuring: Case | None = None
        self._rows: list[ProfileResult] = list(previous.results) if previous else []
        self._limits: list[Limit] = list(previous.limits) if previous else []
        self._largest: dict[Case, int] = {}
        self._remarks = dict.fromkeys(previous.warnings if previous else ())

    @property
    def record(self) -> ProfileRecord:
        """What has been measured up to now; the previous record as long as nothing was added."""
        previous = self._previous
        if previous is not None and len(self._rows) == len(previous.results):
            return previous
        record: ProfileRecord = ProfileRecord.new(
            command=self._command,
            environment=self._environment,
            settings=self._settings,
            specs={**(previous.specs if previous else {}), **self._specs},
            limits=tuple(self._limits),
            warnings=tuple(self._remarks),
            earlier=runs_before(previous) if previous else (),
            results=tuple(self._rows),
        )
        return record

    @property
    def measuring(self) -> str | None:
        """The case that is being measured, in words: its rows are not in the record yet."""
        return describe(self._measuring) if self._measuring else None

    def run(
        self,
        on_case: Callable[[ProfileRecord], None] = lambda record: None,
        on_progress: OnProgress = lambda what, done, total: None,
    ) -> ProfileRecord:
        """Measure all that is missing.

        Args:
            on_case: given the record after each case, to save it.
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
                on_case(self.record)
        return self.record

    def _measure(self, case: Case, missing: tuple[Shift, ...], progress: _Progress) -> None:
        self._measuring = case
        progress("limits and checks of ", 0.0)
        rows = measure_case(
            self._bench,
            case,
            self._with_references(case, missing),
            self._limit(case.dtype),
            on_round=lambda elapsed: progress("", elapsed),
        )
        self._rows.extend(rows[shift] for shift in missing)
        self._measuring = None

    def trace(self, folder: Path) -> Iterator[Trace]:
        """Trace each whole model with each implementation that is neither wrong nor unfit.

        Yields:
            What was written below ``folder``, or why it was not.
        """
        with _threads(self.request.threads):
            for case in self._cases(levels=("model",)):
                for shift in self.request.contenders(case.spec):
                    yield try_to_trace(case, shift, folder, self._unfit(case, shift))

    def _unfit(self, case: Case, shift: Shift) -> str | None:
        """Return why ``shift`` was not timed in ``case``, or was found wrong in a part of it."""
        own = blank_row(case, shift, self.request.threads)
        for row in self._rows:
            same = (row.model, row.shift, row.dtype) == (own.model, own.shift, own.dtype)
            if same and row.skipped and (row.error is not None or row.key == own.key):
                return row.skipped
        return not_applicable(case, shift)

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
        """Return the limits in ``dtype`` on this device and so many threads; measure them once."""
        wanted = (str(self.device.torch_device), dtype, self.request.threads)
        for limit in self._limits:
            if (limit.device, limit.dtype, limit.threads) == wanted:
                return limit
        self._limits.append(measure_limits(self.device, dtype))
        return self._limits[-1]

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


def _require_runnable(request: Request, device: Device) -> None:
    """Refuse what is known not to run, before anything is measured."""
    sizes = [request.threads, *(size for size in request.batch_sizes if size is not None)]
    if min(sizes) < 1:
        raise UnavailableError(f"a batch or number of threads is {min(sizes)}; give 1 or more")
    names = [spec.name for spec in request.specs]
    if len(set(names)) < len(names):
        raise SpecError(f"two of the models {', '.join(names)} have one name; rename one of them")
    for shift in request.shifts:
        registry.get(shift)
    for dtype in request.dtypes:
        require_dtype(device.torch_device, dtype)
    if request.cuda_graph and device.torch_device.type != "cuda":
        raise UnavailableError("--cuda-graph needs a CUDA device; leave it out on a CPU")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
