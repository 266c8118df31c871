"""Names of precisions, and the switches of torch that go with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.faults import first_line

# Name on the command line -> dtype of the tensors.
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Let float32 products use TF32 for ``tf32`` and forbid it for the others, for a while."""
    matmul = torch.get_float32_matmul_precision()
    convolution = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = dtype == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution


def require_dtype(device: torch.device, dtype: str) -> None:
    """Refuse a dtype that the device cannot compute with.

    Raises:
        UnavailableError: no such name, tf32 off CUDA or before Ampere, or a product that torch
            does not have.
    """
    if dtype not in DTYPES:
        raise UnavailableError(f"there is no dtype '{dtype}'; use one of {', '.join(DTYPES)}")
    if dtype == "tf32" and (
        device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)
    ):
        raise UnavailableError(
            f"{device} has no tf32 (it needs a CUDA device of compute capability 8.0 or higher); "
            "use --dtype fp32"
        )
    probe = torch.ones(8, 8, dtype=DTYPES[dtype], device=device)
    try:
        torch.mm(probe, probe)
    except (RuntimeError, NotImplementedError) as error:
        raise UnavailableError(
            f"{device} cannot multiply matrices in {dtype} ({first_line(error)}); use --dtype fp32"
        ) from error
