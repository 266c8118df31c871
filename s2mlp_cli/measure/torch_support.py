"""What torch has here: devices, precisions and their switches, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from s2mlp_cli.errors import UnavailableError

# Name on the command line -> dtype of the tensors.
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

Value = TypeVar("Value")


def target(name: str | None = None, local_rank: int = 0) -> torch.device:
    """Return the device called ``name``; None means the GPU if there is one, else the CPU.

    Of several processes on a machine each takes the GPU of its ``local_rank``, unless ``name`` says
    which.

    A GPU becomes the current one: events and the launches of Triton's kernels go to the current
    device, wherever their tensors are.

    Raises:
        UnavailableError: there is no such device here; the sentence says what is missing.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = ["cpu", *(f"cuda:{index}" for index in range(count))]
    wanted = name or "cpu"
    if count and name in (None, "cuda"):
        wanted = f"cuda:{local_rank % count}"
    if wanted not in present:
        why = _no_cuda() if not count and wanted.startswith("cuda") else ";"
        raise UnavailableError(
            f"there is no device '{name}' here{why} use --device {' or '.join(present)}"
        )
    place = torch.device(wanted)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    return place


def _no_cuda() -> str:
    """Return which of the three that a GPU needs is missing: torch's CUDA, the driver, the card."""
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return f": torch {torch.__version__} was built without CUDA; install a build with it, or"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        told = first_line(error).partition(". ")[0].rstrip(".")
        what = "the NVIDIA driver is missing or too old" if "driver" in told.lower() else "no card"
        return f": {what} (torch says: {told});"
    return ": the driver lists no card (see CUDA_VISIBLE_DEVICES);"


def require_dtype(device: torch.device, dtype: str) -> None:
    """Refuse a dtype that the device cannot compute with.

    Raises:
        UnavailableError: an unknown name, tf32 off CUDA or before Ampere, or a matrix product that
            torch does not have.
    """
    if dtype not in DTYPES:
        raise UnavailableError(f"there is no dtype '{dtype}'; use one of {', '.join(DTYPES)}")
    if dtype == "tf32" and (
        device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)
    ):
        raise UnavailableError(
            f"{device} does not support tf32, which needs a CUDA device of compute capability 8.0 "
            "or higher; use --dtype fp32"
        )
    probe = torch.ones(8, 8, dtype=DTYPES[dtype], device=device)
    try:
        torch.mm(probe, probe)
    except (RuntimeError, NotImplementedError) as error:
        raise UnavailableError(
            f"{device} cannot multiply matrices in {dtype} ({first_line(error)}); use --dtype fp32"
        ) from error


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Let float32 products use TF32 for ``tf32`` and forbid it for the others, for a while.

    torch has two interfaces to these switches, and reading the older one raises once a program has
    used the newer. Both are set, so that either can be read inside, and both are restored.
    """
    allowed = dtype == "tf32"
    backends: Any = torch.backends
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    switches = (
        backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn
    )  # fmt: skip
    before = [switch.fp32_precision for switch in switches]
    matmul = _older(torch.get_float32_matmul_precision)
    convolution = _older(lambda: torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    for switch in switches:
        switch.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if convolution is not None:
            torch.backends.cudnn.allow_tf32 = convolution
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = "none"  # what it inherits
            if switch.fp32_precision != value:
                switch.fp32_precision = value


def _older(read: Callable[[], Value]) -> Value | None:
    try:
        return read()
    except RuntimeError:
        return None


# torch says most of what a device, a dtype or a compiler lacks in a plain RuntimeError, so that its
# words have to be read.
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


def is_of_triton(error: BaseException) -> bool:
    """Tell whether Triton raised it: a kernel that needs more than the card has, or not compiled.

    These are neither RuntimeErrors nor of one module.
    """
    return any(base.__module__.partition(".")[0] == "triton" for base in type(error).__mro__)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, which may go on for pages.

    Of a kernel that is missing, only that is kept, without the file and line of torch's source.
    """
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    missing = _NO_KERNEL.search(lines[0])
    return missing[0] if missing else lines[0]
