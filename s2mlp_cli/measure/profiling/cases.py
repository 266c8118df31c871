"""The cases of a request, and the largest batch that fits into a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.compiling import compiled_blocks, fresh_compiler
from s2mlp_cli.measure.profiling.contenders import unsupported
from s2mlp_cli.measure.profiling.rows import blank_row
from s2mlp_cli.measure.profiling.workloads import (
    BlockCase,
    Candidate,
    Case,
    ModelCase,
    OpCase,
    StageCase,
    build_workload,
    draw_example,
    parts,
)
from s2mlp_cli.measure.source import ExportedModel, GivenModel
from s2mlp_cli.measure.torch_support import is_out_of_memory, precision
from s2mlp_cli.models import build
from s2mlp_cli.records.base import BASELINE, LARGEST_BATCH, REFERENCE
from s2mlp_cli.records.profile import AUTO, TORCH, ProfileRequest, ProfileResult
from s2mlp_cli.specs import S2MLPSpec

# Measured in every round beside the request: the ratios' baseline, and no shift at all.
COMPANIONS = (BASELINE, "none")

_PARTS: dict[str, type[StageCase]] = {"op": OpCase, "block": BlockCase}


def cases(
    models: tuple[GivenModel, ...], request: ProfileRequest, largest: Callable[[Case], int]
) -> Iterator[Case]:
    """Yield every case of ``request``, models outermost.

    A model without a sequence of blocks is compiled at once in any case.

    Args:
        models: in every requested size.
        request: the options of the run.
        largest: finds the batch for a None among the batch sizes, given the whole model.
    """
    for model in models:
        compile = "model" if request.compile and not has_blocks(model) else request.compile
        for dtype in request.dtypes:
            for batch_size in request.batch_sizes:
                whole = ModelCase(
                    model=model,
                    device=request.device,
                    dtype=dtype,
                    batch_size=batch_size or 1,
                    mode=request.mode,
                    compile=compile,
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
    blanks: dict[Candidate, ProfileResult]
    missing: tuple[Candidate, ...]
    asked: tuple[Candidate, ...]


def plan(
    models: tuple[GivenModel, ...],
    request: ProfileRequest,
    known: Iterable[ProfileResult],
    largest: Callable[[Case], int],
) -> list[Planned]:
    """Return the cases with rows that are not known yet; none for the sake of companions alone.

    Raises:
        UnavailableError: nothing that was requested can run here; with the reasons.
    """
    present = {row.key: row for row in known}
    planned = []
    for case in cases(models, request, largest):
        beside, asked = companions(case.model), candidates(case.model, request)
        names = dict.fromkeys((*beside, *asked))
        blanks = {each: blank_row(case, each, request.threads) for each in names}
        missing = tuple(each for each in names if blanks[each].key not in present)
        ended = [present[key] for each in asked if (key := blanks[each].key) in present]
        useless = len(ended) == len(asked) and not any(row.median_s for row in ended)
        if missing and not useless:
            running = (each for each in names if each in missing or each in beside)
            planned.append(Planned(case, {each: blanks[each] for each in running}, missing, asked))
    _require_something_to_run(planned)
    return planned


def _require_something_to_run(planned: list[Planned]) -> None:
    """Refuse a run in which only what is there to be compared with could be timed.

    Raises:
        UnavailableError: with the reason for each requested implementation.
    """
    reasons: dict[str, None] = {}
    for each in planned:
        for candidate in each.asked:
            reason = unsupported(each.case, candidate)
            if reason is None:
                return
            reasons[f"{candidate}: {reason}"] = None
    if reasons:
        raise UnavailableError(
            f"nothing that was asked for can be timed here: {'; '.join(reasons)}"
        )


def companions(model: GivenModel) -> tuple[Candidate, ...]:
    """Return what runs beside every request; nothing compares with a file of its own."""
    if isinstance(model, ExportedModel):
        return ()
    return tuple(map(Candidate, COMPANIONS)) if has_shifts(model) else (Candidate(None),)


def candidates(model: GivenModel, request: ProfileRequest) -> tuple[Candidate, ...]:
    """Return the requested contenders of ``model``: each implementation in each runtime.

    An exported file is one contender in each runtime that was named; in the usual one of its
    format where only torch is, which runs no ONNX.
    """
    others = [name for name in request.runtimes if name != TORCH]
    auto = [(name, AUTO) for name in others if name == "openvino" and AUTO in request.precisions]
    if isinstance(model, ExportedModel):
        own = None if model.facts.precision == "fp32" else model.facts.precision
        usual = TORCH if model.is_program else "onnxruntime"
        chosen = auto if own is None else []
        return tuple(
            Candidate(None, *how) for how in [*((name, own) for name in others or [usual]), *chosen]
        )
    shifts: tuple[str | None, ...] = (
        (request.shifts or COMPANIONS) if has_shifts(model) else (None,)
    )
    ran: list[tuple[str, str | None]] = [(TORCH, None)] if TORCH in request.runtimes else []
    for each in request.precisions:
        own = None if each == "fp32" else each
        ran += auto if each == AUTO else [(runtime, own) for runtime in others]
    return tuple(Candidate(shift, *how) for how in ran for shift in shifts)


def has_shifts(model: GivenModel) -> bool:
    """Tell whether the model has mixers whose shift can be switched."""
    if model.spec is not None:
        return isinstance(model.spec, S2MLPSpec)
    return build.has_shifts(model.build(device="meta"))


def has_blocks(model: GivenModel) -> bool:
    """Tell whether the model has a sequence whose members can be compiled each by itself."""
    if isinstance(model.spec, S2MLPSpec):
        return True
    if isinstance(model, ExportedModel) and not model.is_program:
        return False
    return bool(compiled_blocks(model.build(device="meta")))


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
            with fresh_compiler() if case.compile else nullcontext():
                build_workload(case, BASELINE, example).run()
            torch.cuda.synchronize()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return False
        raise
    finally:
        torch.cuda.empty_cache()
    return True
