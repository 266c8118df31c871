"""Every case of a request in turn, what is missing only, and the record of it at any moment."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

from torch import nn

from s2mlp_cli.cores import threads
from s2mlp_cli.errors import SpecError, UnavailableError
from s2mlp_cli.measure.counting.audit import published_top1
from s2mlp_cli.measure.environment import environment
from s2mlp_cli.measure.profiling.cases import (
    Planned,
    candidates,
    cases,
    companions,
    find_largest_batch,
    fits,
    plan,
)
from s2mlp_cli.measure.profiling.compiling import Compiling, fresh_compiler
from s2mlp_cli.measure.profiling.contenders import (
    Contender,
    Preparation,
    out_of_memory,
    unsupported,
)
from s2mlp_cli.measure.profiling.deployed import DeployedFiles
from s2mlp_cli.measure.profiling.device import Device, measure_roofline, open_device
from s2mlp_cli.measure.profiling.memory import child_memory
from s2mlp_cli.measure.profiling.resident import Resident
from s2mlp_cli.measure.profiling.resuming import require_same, runs_before
from s2mlp_cli.measure.profiling.rounds import Budget, Samples, measure_rounds
from s2mlp_cli.measure.profiling.rows import (
    blank_row,
    machine_remarks,
    telemetry_remarks,
    timed_row,
)
from s2mlp_cli.measure.profiling.workloads import Candidate, Case, matmul_macs
from s2mlp_cli.measure.source import ExportedModel, GivenModel, as_given
from s2mlp_cli.measure.torch_support import is_out_of_memory, precision, require_dtype
from s2mlp_cli.measure.tracing.writing import Trace, try_to_trace
from s2mlp_cli.records.base import BASELINE, FLOORS, Environment, changed
from s2mlp_cli.records.profile import (
    TORCH,
    Level,
    Memory,
    Mode,
    ProfileRecord,
    ProfileRequest,
    ProfileResult,
    ProfileSettings,
    Roofline,
)
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.contender import beside, find_shift, foreign
from s2mlp_cli.specs import ModelSpec

# One image is what a CPU answers; a GPU is not full with less than some dozens.
DEFAULT_BATCH = {"cpu": 1, "cuda": 64}

# What multiplies no matrices to shift: the baseline of the ratios, or a model without shifts.
_PLAIN = (Candidate(BASELINE), Candidate(None))

_ENDED = "ran out of memory in the rounds: use a smaller --batch-size"

# (what is going on, fraction of the whole that is done, estimated seconds left if there is one).
OnProgress = Callable[[str, float, float | None], None]

# Measures the memory of a workload on a CPU, or says why it is not known.
ChildMemory = Callable[[Case, str | None, int], Resident | str]


# Says what is going on in a case, and which fraction of the case is done.
Step = Callable[[str, float], None]


class Profiler:
    """Measures one request on one device, and has the record of it at any moment.

    All implementations of a case are measured in the same rounds, so their rows come together,
    when the case is done: what is interrupted within a case is lost, and measured anew.

    Args:
        models: what to measure, each at its own size.
        request: what to measure of it.
        settings: how.
        device: where; ``request.device`` is its name.
        environment: of this machine, for the record.
        command: the words of the command line, for the record.
        previous: an earlier record; its rows are kept and not measured again.
        clock: of the time budget.
        memory_of: measures one workload's memory on a CPU.

    Attributes:
        record: what has been measured up to now; ``previous`` as long as nothing was added.
        has_news: whether ``record`` has rows that ``previous`` lacks.
        measuring: the case that is being measured: its rows are not in the record yet.

    Raises:
        UnavailableError: the device lacks a dtype, or the implementations are not known.
        RecordError: the rows of ``previous`` would not compare with those measured now.
    """

    def __init__(
        self,
        models: tuple[GivenModel, ...],
        request: ProfileRequest,
        settings: ProfileSettings,
        device: Device,
        environment: Environment,
        *,
        command: tuple[str, ...] = (),
        previous: ProfileRecord | None = None,
        clock: Callable[[], float] = time.perf_counter,
        memory_of: ChildMemory = child_memory,
    ) -> None:
        _require_runnable(models, request, device)
        specs = {each.name: each.spec.model_dump(mode="json") for each in models if each.spec}
        top1 = {each.name: published_top1(each.spec) for each in models if each.spec}
        shifts = [own for name in request.shifts if (own := foreign(name))]
        sources = {each.source.name: each.source for each in models}
        sources |= {each.source.name: each.source for each in shifts}
        if previous is not None:
            require_same(previous, environment, settings, specs, sources)
        self._begun: ProfileRecord = ProfileRecord.new(
            command=command,
            environment=environment,
            settings=settings,
            request=request,
            specs=specs,
            published_top1={name: value for name, value in top1.items() if value is not None},
            sources=sources,
            results=(),
        )
        if previous is not None:
            self._begun = changed(
                self._begun,
                specs={**specs, **previous.specs},
                published_top1={**self._begun.published_top1, **previous.published_top1},
                sources={**sources, **previous.sources},
                limits=previous.limits,
                warnings=previous.warnings,
                earlier=runs_before(previous),
                results=previous.results,
            )
        self.record = previous or self._begun
        self.has_news = False
        self.measuring: Case | None = None
        for model in models if not request.input_sizes else ():
            if isinstance(model, ExportedModel):
                model.require_size()
        self._models = tuple(
            model.at(size)
            for model in models
            for size in request.input_sizes or (model.input_size,)
        )
        self._request = request
        self._settings = settings
        self._device = device
        self._previous = previous
        self._clock = clock
        self._memory_of = memory_of
        self._largest: dict[tuple[object, ...], int] = {}

    def run(
        self,
        on_case: Callable[[ProfileRecord], None] = lambda record: None,
        on_progress: OnProgress = lambda what, done, left: None,
    ) -> ProfileRecord:
        """Measure all that is missing.

        Args:
            on_case: given the record after each case, to save it.
            on_progress: told what is being measured.

        Raises:
            UnavailableError: nothing that was requested can run here, or not even one image fits
                where the largest batch is searched.
        """
        summaries = (own.summary for each in self._request.shifts if (own := foreign(each)))
        self._add(warnings=(*machine_remarks(), *summaries))
        with threads(self._request.threads):
            planned = plan(self._models, self._request, self._begun.results, self._largest_batch)
            told = _teller(on_progress, planned, self._clock)
            # One model after another: its exported files serve all of its cases.
            for _, group in itertools.groupby(
                enumerate(planned), lambda each: id(each[1].case.model)
            ):
                of_model = list(group)
                with closing(DeployedFiles(of_model[0][1].case.model)) as files:
                    for number, each in of_model:
                        step = partial(told, number)
                        self.measuring = each.case
                        with beside(self._request.shifts):
                            rows = self._measured(each, files, step)
                        step("done", 1.0)
                        self._add(results=rows)
                        self.measuring = None
                        on_case(self.record)
        return self.record

    def trace(self, folder: Path) -> Iterator[Trace]:
        """Trace each whole model with each implementation that is neither wrong nor unsupported.

        Yields:
            What was written below ``folder``, or why it was not.
        """
        request = changed(self._request, levels=("model",))
        eager = [row for row in self._begun.results if row.runtime == TORCH and row.skipped]
        known = {row.key: row.skipped for row in eager}
        # of an implementation that was found wrong in any part of a model
        wrong = {(row.model, row.shift, row.dtype): row.skipped for row in eager if row.error}
        with threads(self._request.threads):
            for case in cases(self._models, request, self._largest_batch):
                named = (*companions(case.model), *candidates(case.model, request))
                for each in dict.fromkeys(each for each in named if each.runtime == TORCH):
                    row = blank_row(case, each, request.threads)
                    unfit = wrong.get((row.model, row.shift, row.dtype)) or known.get(row.key)
                    unfit = unfit or unsupported(case, each)
                    yield try_to_trace(case, each.shift, folder, unfit)

    def _measured(self, planned: Planned, files: DeployedFiles, step: Step) -> list[ProfileResult]:
        """Return the missing rows of one case, timed or skipped."""
        case = planned.case
        roofline = self._roofline(case.dtype, step)
        with (
            case.model.running(),
            precision(case.dtype),
            fresh_compiler() if case.compile else nullcontext(Compiling()) as compiling,
        ):
            prepared = self._prepared(
                planned, Preparation(case, self._device, files, compiling), step
            )
            ready = {each: made for each, made in prepared.items() if isinstance(made, Contender)}
            before = self._device.telemetry()  # all are warm by now: an idle GPU has another clock
            samples, exhausted = self._rounds(case, ready, step)
            moved = telemetry_remarks(before, self._device.telemetry())
            plain = next((ready[each] for each in _PLAIN if each in ready), None)
            macs = matmul_macs(case, plain.workload) if plain else 0
        rows = []
        for each in planned.missing:
            made = prepared.get(each)
            if isinstance(made, ProfileResult):
                rows.append(made)
            elif made and not samples[each]:
                rows.append(changed(planned.blanks[each], skipped=out_of_memory(case)))
            elif made:
                peers = (_PLAIN[0], *(each._replace(shift=floor) for floor in FLOORS))
                row = timed_row(
                    self._with_memory(case, each, made.row, files),
                    samples[each],
                    {peer.shift: samples[peer] for peer in peers if peer in samples},
                    0 if each.precision else macs,  # the roofline is not one of other precisions
                    roofline,
                    (*([_ENDED] if each in exhausted else []), *moved),
                )
                rows.append(row)
        return rows

    def _prepared(
        self, planned: Planned, preparation: Preparation, step: Step
    ) -> dict[Candidate, Contender | ProfileResult]:
        """Prepare the request, then, if any of it can run, what it is compared with."""
        prepared: dict[Candidate, Contender | ProfileResult] = {}
        order = sorted(planned.blanks, key=lambda each: each not in planned.asked)
        timed_before = any(each not in planned.missing for each in planned.asked)
        for number, candidate in enumerate(order):
            comparable = timed_before or any(isinstance(p, Contender) for p in prepared.values())
            if candidate not in planned.asked and not comparable:
                break
            step(f"checking {candidate} ({number + 1} of {len(order)})", number / len(order) / 2)
            prepared[candidate] = preparation.prepare(candidate, planned.blanks[candidate])
        return {each: prepared[each] for each in planned.blanks if each in prepared}

    def _rounds(
        self, case: Case, ready: dict[Candidate, Contender], step: Step
    ) -> tuple[Samples[Candidate], set[Candidate]]:
        """Return the samples, and which implementations ran out of memory on the way."""
        cold = case.level == "op" and not self._settings.hot
        exhausted: set[Candidate] = set()

        def sample(candidate: Candidate) -> float | None:
            contender = ready[candidate]
            try:
                calls = contender.row.calls_per_sample or 1
                return self._device.seconds(contender.run, calls, cold=cold)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                exhausted.add(candidate)
                return None

        settings = self._settings
        most = settings.max_time_s * len(ready)
        with case.context():
            samples = measure_rounds(
                tuple(ready),
                sample,
                baseline=_PLAIN[0],
                budget=Budget(settings.min_time_s * len(ready), most),
                seed=settings.seed,
                clock=self._clock,
                on_round=lambda elapsed: step("timing", 0.5 + min(elapsed / most, 1) / 2),
            )
        return samples, exhausted

    def _with_memory(
        self, case: Case, candidate: Candidate, row: ProfileResult, files: DeployedFiles
    ) -> ProfileResult:
        """Complete what the device knows about a row's memory by what a child process says."""
        known = row.memory or Memory()
        if self._device.torch_device.type != "cpu" or known.unknown:
            return row
        if candidate.runtime == TORCH:
            found = self._memory_of(case, candidate.shift, self._request.threads)
        else:
            found = files.memory(candidate, case.shape)
        if isinstance(found, str):
            return changed(row, memory=changed(known, unknown=found))
        told = changed(known, peak_rss_bytes=found.peak, activations_bytes=found.added)
        return changed(row, memory=told)

    def _roofline(self, dtype: str, step: Step) -> Roofline:
        """Return the roofline in ``dtype`` on this device and so many threads; measure it once."""
        wanted = (str(self._device.torch_device), dtype, self._request.threads)
        for known in self._begun.limits:
            if (known.device, known.dtype, known.threads) == wanted:
                return known
        step(f"roofline in {dtype}", 0.0)
        found = measure_roofline(self._device, dtype)
        self._add(limits=[found])
        return found

    def _largest_batch(self, case: Case) -> int:
        which = (case.model.name, case.model.input_size, case.dtype)
        if which not in self._largest:
            found = find_largest_batch(lambda batch: fits(case, batch))
            self._largest[which] = found
            said = f"{which[0]}, {which[2]}: the largest batch that fits is {found}"
            self._add(warnings=[said])
        return self._largest[which]

    def _add(
        self,
        results: Sequence[ProfileResult] = (),
        limits: Iterable[Roofline] = (),
        warnings: Iterable[str] = (),
    ) -> None:
        """Go on with a record that has these as well."""
        begun = self._begun
        self._begun = changed(
            begun,
            results=(*begun.results, *results),
            limits=(*begun.limits, *limits),
            warnings=tuple(dict.fromkeys((*begun.warnings, *warnings))),
        )
        self.has_news = self.has_news or bool(results)
        if self.has_news or self._previous is None:
            self.record = self._begun


def _require_runnable(
    models: tuple[GivenModel, ...], request: ProfileRequest, device: Device
) -> None:
    """Refuse what is known not to run, before anything is measured."""
    sizes = [request.threads, *(size for size in request.batch_sizes if size is not None)]
    if min(sizes) < 1:
        raise UnavailableError(f"a batch or number of threads is {min(sizes)}; give 1 or more")
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise SpecError(f"two of the models {', '.join(names)} have one name; rename one of them")
    for shift in request.shifts:
        registry.get(shift)
    for dtype in request.dtypes:
        require_dtype(device.torch_device, dtype)
    if request.cuda_graph and device.torch_device.type != "cuda":
        raise UnavailableError("--cuda-graph needs a CUDA device; leave it out on a CPU")


def _teller(
    tell: OnProgress, planned: list[Planned], clock: Callable[[], float]
) -> Callable[[int, str, float], None]:
    """Return what is told each step of a case, by its number, and tells the whole that is done.

    The estimate supposes that what is left takes as long as what is done; there is none before the
    first case is done. A case with more implementations is more of the whole.
    """
    sizes = [len(each.blanks) for each in planned]
    started = clock()

    def step(number: int, what: str, fraction: float) -> None:
        done = (sum(sizes[:number]) + fraction * sizes[number]) / sum(sizes)
        spent = clock() - started
        left = spent / done - spent if number else None
        tell(f"{number + 1}/{len(sizes)} {planned[number].case}: {what}", done, left)

    return step


def profile(
    model: ModelSpec | nn.Module,
    shifts: tuple[str, ...] = (),
    *,
    device: str | None = None,
    dtype: str = "fp32",
    batch_size: int | None = None,
    levels: tuple[Level, ...] = ("op", "block", "model"),
    mode: Mode = "inference",
    threads: int | None = None,
    min_time_s: float = 0.5,
    max_time_s: float = 3.0,
    seed: int = 0,
    input_size: tuple[int, int] | None = None,
) -> ProfileRecord:
    """Time implementations of the shift in ``model``, from Python: what ``s2mlp profile`` does.

    On a CPU, memory is measured in child processes: a script should call this under
    ``if __name__ == "__main__":``, as with everything that uses multiprocessing.

    Args:
        model: what :func:`s2mlp_cli.specs.load_spec` returned, or a module that takes images.
        shifts: names, or your own (``mine.py:my_shift``); ``slice`` and ``none`` are measured
            beside them.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None is the GPU if there is one.
        dtype: fp32, tf32, bf16 or fp16.
        batch_size: images; None is 1 on a CPU and 64 on a GPU.
        levels: of op, block and model.
        mode: inference or training.
        threads: of the CPU; None is all cores.
        min_time_s: seconds per row that are spent at least.
        max_time_s: seconds per row that are spent at most.
        seed: of the order in the rounds.
        input_size: (height, width) in pixels; None is the spec's own, 224x224 for a module.

    Raises:
        UnavailableError: no such device or implementation, or the device lacks the dtype.
    """
    place = open_device(device)
    here = environment()
    given = as_given(model, "profile", input_size)
    request = ProfileRequest(
        models=(given.name,),
        shifts=tuple(find_shift(name, place.torch_device).name for name in shifts),
        levels=levels,
        dtypes=(dtype,),
        batch_sizes=(DEFAULT_BATCH[place.torch_device.type] if batch_size is None else batch_size,),
        mode=mode,
        device=str(place.torch_device),
        threads=here.cpu_count if threads is None else threads,
    )
    settings = ProfileSettings(seed=seed, min_time_s=min_time_s, max_time_s=max_time_s)
    return Profiler((given,), request, settings, place, here, command=("profile",)).run()
