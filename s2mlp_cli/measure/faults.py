"""Faults that tell what a device, a dtype or a compiler lacks, kept apart from those that are bugs.

torch says most of them in a plain RuntimeError, so that its words have to be read.
"""

from __future__ import annotations

import re

import torch

_OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)
_ALLOCATION_FAILED = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",  # of the driver, where torch's allocator was not asked
    "Triton Error [CUDA]: out of memory",
    "STATUS_ALLOC_FAILED",  # of cuBLAS and cuDNN, whose workspaces did not fit
)
_UNSUPPORTED = ("not implemented", "not supported", "unsupported")
_NO_KERNEL = re.compile(r"\S+ not implemented for \S+")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out; all but torch's allocator say so in a RuntimeError."""
    return isinstance(error, _OUT_OF_MEMORY) or (
        isinstance(error, RuntimeError)
        and any(phrase in str(error) for phrase in _ALLOCATION_FAILED)
    )


def is_unsupported(error: BaseException) -> bool:
    """Tell whether torch or an extension has no such operation for this dtype or device."""
    return isinstance(error, NotImplementedError) or (
        isinstance(error, RuntimeError)
        and any(phrase in str(error).lower() for phrase in _UNSUPPORTED)
    )


def is_of_compiler(error: BaseException) -> bool:
    """Tell whether torch.compile raised it, without importing the compiler (a second or two)."""
    return any(base.__module__.startswith("torch._dynamo") for base in type(error).__mro__)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, which may go on for pages.

    Of a kernel that is missing, only that is kept, without the file and line of torch's source.
    """
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    missing = _NO_KERNEL.search(lines[0])
    return missing[0] if missing else lines[0]
