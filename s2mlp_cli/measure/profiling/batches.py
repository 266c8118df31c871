"""``--batch-size max``: the largest batch that fits into the memory of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.workloads import Case, build_workload, draw_example
from s2mlp_cli.measure.torch_support import is_out_of_memory, precision
from s2mlp_cli.shifts import registry

LARGEST_BATCH = 2**16


def find_largest_batch(fits: Callable[[int], bool]) -> int:
    """Return the largest batch that fits, to within an eighth: double, then halve the gap.

    Raises:
        UnavailableError: not even one image fits.
    """
    if not fits(1):
        raise UnavailableError("not even a batch of 1 fits; use a smaller --model or --input-size")
    good = 1
    while good < LARGEST_BATCH and fits(2 * good):
        good *= 2
    step = good // 2
    while step and 16 * step >= good and good < LARGEST_BATCH:
        good += step if fits(good + step) else 0
        step //= 2
    return good


def fits(case: Case, batch_size: int) -> bool:
    """Try one run of the whole model at this batch size, by the definition and with ``slice``.

    What fits is checked before it is timed, so that the definition has to fit as well.
    """
    case = replace(case, batch_size=batch_size)
    if case.device == "cpu":
        raise UnavailableError(
            "--batch-size max needs a CUDA device: a CPU gives no warning before memory runs out; "
            "give a number"
        )
    try:
        _run(case)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return False
        raise
    finally:
        torch.cuda.empty_cache()
    return True


def _run(case: Case) -> None:
    with precision(case.dtype), case.context():
        example = draw_example(case)
        build_workload(replace(case, compiled=False), "oracle", example).run()
        build_workload(case, registry.DEFAULT, example).run()
        torch.cuda.synchronize()
