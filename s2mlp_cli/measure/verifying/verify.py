"""``verify``: every implementation against the reference implementation, values and gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from s2mlp_cli.cores import threads
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.torch_support import first_line, is_unsupported
from s2mlp_cli.measure.verifying.cases import DTYPES, V1, CheckInput, check_inputs, smallest_input
from s2mlp_cli.measure.verifying.checks import (
    check_mixer,
    check_shift,
    together,
    wrong_by_direction,
)
from s2mlp_cli.records.verify import Outcome, VerifyCase, VerifyResult
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import Implementation, ShiftFunction

Check = Callable[[CheckInput], VerifyCase]


def verify(
    names: Sequence[str],
    device: torch.device | str = "cpu",
    dtypes: Sequence[str] = tuple(DTYPES),
    seed: int = 0,
    progress: Callable[[str], object] = lambda name: None,
) -> tuple[VerifyResult, ...]:
    """Check the implementations called ``names`` against the reference on ``device``.

    Args:
        names: of the registry.
        device: where to run.
        dtypes: of :data:`~s2mlp_cli.measure.verifying.cases.DTYPES`; those that an implementation
            does not support there are probed and reported as skipped.
        seed: of the random inputs.
        progress: called with each name before its turn.

    Raises:
        UnavailableError: a name that the registry does not know.
    """
    results, place = [], torch.device(device)
    with threads(1):  # on maps this small, waking a second one takes most of the time
        for name in names:
            progress(name)
            results.append(verify_one(registry.get(name), place, dtypes, seed))
    return tuple(results)


def verify_one(
    implementation: Implementation, device: torch.device, dtypes: Sequence[str], seed: int
) -> VerifyResult:
    """Check one implementation against the reference on ``device``."""
    check: Check
    if isinstance(implementation, ShiftFunction):
        check = functools.partial(check_shift, implementation, device=device, seed=seed)
    else:
        check = functools.partial(check_mixer, implementation, device=device, seed=seed)
    reason = implementation.unavailable(device)
    skipped = dict.fromkeys(dtypes, reason) if reason else _probe(check, dtypes)
    given = [each for dtype in dtypes if dtype not in skipped for each in check_inputs(dtype)]
    cases = tuple(_answer(check, each) for each in given)
    failed = sum(not case.right for case in cases)
    forward = [case.forward for case in cases if case.forward]
    gradient = [case.gradient for case in cases if case.gradient]
    only_values = any(each.wrong for each in forward) and not any(case.fault for case in cases)
    return VerifyResult(
        implementation=implementation.name,
        summary=implementation.summary,
        subject="shift" if isinstance(implementation, ShiftFunction) else "mixer",
        safe=implementation.safe,
        device=str(device),
        seed=seed,
        verdict=_verdict(implementation.safe, len(cases), failed),
        checks=len(cases),
        failed=failed,
        wrong_forward=together(forward).fraction,
        wrong_gradient=together(gradient).fraction,
        max_error=together(forward + gradient).max_error,
        skipped=skipped,
        wrong_by_direction=(
            wrong_by_direction(implementation, V1, device, seed)
            if isinstance(implementation, ShiftFunction) and only_values
            else {}
        ),
        cases=cases,
    )


def _probe(check: Check, dtypes: Sequence[str]) -> dict[str, str]:
    """Return the dtypes that do not run here, each with the reason that torch gives."""
    reasons = {}
    for dtype in dtypes:
        try:
            check(smallest_input(dtype))
        except (UnavailableError, RuntimeError) as error:
            if isinstance(error, UnavailableError) or is_unsupported(error):
                reasons[dtype] = first_line(error)
    return reasons


def _answer(check: Check, given: CheckInput) -> VerifyCase:
    """Run a case; an implementation that raises is wrong there, and the rest goes on."""
    try:
        return check(given)
    except RuntimeError as error:
        return VerifyCase(
            shape=given.shape,
            splits=given.splits,
            dtype=given.dtype,
            layout=given.memory_format,
            fault=f"raised {type(error).__name__}: {first_line(error)}",
        )


def _verdict(safe: bool, checks: int, failed: int) -> Outcome:
    if not checks:
        return "cannot run"
    if not failed:
        return "right"
    return "wrong" if safe else "wrong as known"
