"""Why an implementation is not run in a case: what is known before, and what trying it shows."""

from __future__ import annotations

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.workloads import Case
from s2mlp_cli.measure.torch_support import (
    first_line,
    is_of_compiler,
    is_out_of_memory,
    is_unsupported,
)
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import Implementation, MixerKernel

# What to catch and ask :func:`reason_to_skip` about (NotImplementedError is a RuntimeError).
FAULTS = (RuntimeError, MemoryError, UnavailableError)


def not_applicable(case: Case, shift: str | None) -> str | None:
    """Return why ``shift`` has no place in ``case`` or cannot run on its device, or None."""
    if shift is None:
        return None
    implementation = registry.get(shift)
    if case.level == "op" and shift == "none":
        return "nothing to time: it returns its input"
    if case.level == "op" and not case.directions:
        return "the spec shifts nothing"
    return _kernel_not_applicable(case, implementation) or implementation.unavailable(
        torch.device(case.device)
    )


def _kernel_not_applicable(case: Case, implementation: Implementation) -> str | None:
    if not isinstance(implementation, MixerKernel):
        return None
    if case.level == "op":
        return "replaces the whole mixer: see the levels block and model"
    if case.mode == "training" and not implementation.trains:
        return "has no gradient: inference only"
    return None


def reason_to_skip(error: BaseException, case: Case) -> str | None:
    """Return what ``error`` says against running ``case``, or None: then it is a bug, to be raised.

    Running out of memory, what cannot be compiled or captured, and a dtype or an operation that
    the device lacks are reasons; nothing else is.
    """
    if is_out_of_memory(error):
        return out_of_memory(case)
    if is_of_compiler(error):
        return f"torch.compile: {first_line(error)}"
    if isinstance(error, UnavailableError):
        return str(error)
    if case.cuda_graph and "captur" in str(error):
        return f"cannot be captured as a CUDA graph: {first_line(error)}"
    if is_unsupported(error):
        return f"{case.dtype} on {case.device}: {first_line(error)}"
    return None


def out_of_memory(case: Case) -> str:
    """Return the reason to skip what does not fit, with the size that failed."""
    return f"out of memory at batch {case.batch_size}"
