"""The cases that follow from what was asked for, and the largest batch that fits into a GPU."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.contenders import Shift, fresh_compiler, unsupported
from s2mlp_cli.measure.profiling.rows import blank_row
from s2mlp_cli.measure.profiling.workloads import (
    BlockCase,
    Case,
    ModelCase,
    OpCase,
    StageCase,
    build_workload,
    draw_example,
    parts,
)
from s2mlp_cli.measure.source import GivenModel
from s2mlp_cli.measure.torch_support import is_out_of_memory, precision
from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.records.base import BASELINE, LARGEST_BATCH, REFERENCE
from s2mlp_cli.records.profile import ProfileRequest, ProfileResult
from s2mlp_cli.specs import S2MLPSpec

# Measured in every round beside what was asked for: the ratios' baseline, and no shift at all.
COMPANIONS = (BASELINE, "none")

_PARTS: dict[str, type[StageCase]] = {"op": OpCase, "block": BlockCase}


def cases(
    models: tuple[GivenModel, ...], request: ProfileRequest, largest: Callable[[Case], int]
) -> Iterator[Case]:
    """Yield every case of ``request``, models outermost.

    Args:
        models: in every size that was asked for.
        request: what was asked for.
        largest: finds the batch for a None among the batch sizes, given the whole model.
    """
    for model in models:
        for dtype in request.dtypes:
            for batch_size in request.batch_sizes:
                whole = ModelCase(
                    model=model,
                    device=request.device,
                    dtype=dtype,
                    batch_size=batch_size or 1,
                    mode=request.mode,
                    compile=request.compile,
                    compile_mode=request.compile_mode,
                    cuda_graph=request.cuda_graph,
                    channels_last=request.channels_last,
                )
                if batch_size is None:
                    whole = replace(whole, batch_size=largest(whole))
                for level in request.levels:
                    yield from (whole,) if level == "model" else parts(whole, _PARTS[level])


@dataclass(frozen=True)
class Planned:
    """A case with rows to measure.

    Attributes:
        blanks: the rows of all that takes part in its rounds, with nothing measured yet.
        missing: those whose rows the record lacks.
        asked: those that were asked for; the others are there to be compared with.
    """

    case: Case
    blanks: dict[Shift, ProfileResult]
    missing: tuple[Shift, ...]
    asked: tuple[Shift, ...]

    def is_worth_comparing(self, ready: Collection[Shift]) -> bool:
        """Tell whether anything that was asked for is ready to be timed, or was timed before."""
        return any(shift in ready or shift not in self.missing for shift in self.asked)


def plan(
    models: tuple[GivenModel, ...],
    request: ProfileRequest,
    known: Iterable[ProfileResult],
    largest: Callable[[Case], int],
) -> list[Planned]:
    """Return the cases with rows that are not known yet; none for the sake of companions alone.

    Raises:
        UnavailableError: nothing of what was asked for can run here; with the reasons.
    """
    present = {row.key: row for row in known}
    planned = []
    for case in cases(models, request, largest):
        names = implementations(case.model, request.shifts)
        blanks = {shift: blank_row(case, shift, request.threads) for shift in names}
        missing = tuple(shift for shift in names if blanks[shift].key not in present)
        asked = (request.shifts or COMPANIONS) if names != (None,) else names
        ended = [present[key] for shift in asked if (key := blanks[shift].key) in present]
        useless = len(ended) == len(asked) and not any(row.median_s for row in ended)
        if missing and not useless:
            running = (shift for shift in names if shift in missing or shift in COMPANIONS)
            planned.append(Planned(case, {each: blanks[each] for each in running}, missing, asked))
    _require_something_to_run(planned)
    return planned


def _require_something_to_run(planned: list[Planned]) -> None:
    """Refuse a run in which only what is there to be compared with could be timed.

    Raises:
        UnavailableError: with the reason for each implementation that was asked for.
    """
    reasons: dict[str, None] = {}
    for each in planned:
        for shift in each.asked:
            reason = unsupported(each.case, shift)
            if reason is None:
                return
            reasons[f"{shift}: {reason}"] = None
    if reasons:
        raise UnavailableError(
            f"nothing of what --shift names can be timed here ({'; '.join(reasons)}); choose "
            "another --shift, --level or --device"
        )


def implementations(model: GivenModel, shifts: tuple[str, ...]) -> tuple[Shift, ...]:
    """Return the implementations to time of ``model``, companions first; (None,) without shifts."""
    return tuple(dict.fromkeys((*COMPANIONS, *shifts))) if has_shifts(model) else (None,)


def has_shifts(model: GivenModel) -> bool:
    """Tell whether the model has mixers whose shift can be switched."""
    if model.spec is not None:
        return isinstance(model.spec, S2MLPSpec)
    built = model.build(device="meta")
    return any(isinstance(module, SpatialShiftMixer) for module in built.modules())


def find_largest_batch(fits: Callable[[int], bool]) -> int:
    """Return the largest batch that fits, to within an eighth: double, then halve the gap.

    Raises:
        UnavailableError: not even one image fits.
    """
    if not fits(1):
        raise UnavailableError("not even a batch of 1 fits; use a smaller --model or --input-size")
    good = 1
    while 2 * good <= LARGEST_BATCH and fits(2 * good):
        good *= 2
    step = good // 2
    while step and 16 * step >= good:
        good += step if good + step <= LARGEST_BATCH and fits(good + step) else 0
        step //= 2
    return good


def fits(case: Case, batch_size: int) -> bool:
    """Try one run of the whole model at this batch size, by the reference and by the baseline.

    What fits is checked before it is timed, so that the reference has to fit as well. A compiled
    model is tried as it will be timed: each size compiled for itself.
    """
    case = replace(case, batch_size=batch_size)
    if case.device == "cpu":
        raise UnavailableError(
            "--batch-size max needs a CUDA device: a CPU gives no warning before memory runs out; "
            "give a number"
        )
    try:
        with precision(case.dtype), case.context():
            example = draw_example(case)
            build_workload(replace(case, compile=None), REFERENCE, example).run()
            if case.compile:
                with fresh_compiler():
                    build_workload(case, BASELINE, example).run()
            else:
                build_workload(case, BASELINE, example).run()
            torch.cuda.synchronize()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return False
        raise
    finally:
        torch.cuda.empty_cache()
    return True
