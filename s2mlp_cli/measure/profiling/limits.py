"""The limits of this device, measured in this run: copy bandwidth and matrix-product rate."""

from __future__ import annotations

import torch

from s2mlp_cli.measure.profiling.device import Device, Run
from s2mlp_cli.measure.torch_support import DTYPES, is_out_of_memory, precision
from s2mlp_cli.records.profile import Limit

# Of one tensor: far over the caches.
_COPY_BYTES = {"cpu": 128 * 2**20, "cuda": 2**30}

# Rows and columns of the square matrices: large enough to reach the rate, small enough to wait.
_MATMUL_SIDE = {"cpu": 1536, "cuda": 8192}

_SAMPLES = 15


def measure_limits(device: Device, dtype: str) -> Limit:
    """Measure what this device reaches at most in this dtype, on the threads that torch has now.

    None for what does not run.
    """
    kind = device.torch_device.type
    with torch.inference_mode(), precision(dtype):
        return Limit(
            device=str(device.torch_device),
            dtype=dtype,
            threads=torch.get_num_threads(),
            copy_bytes_per_s=copy_bandwidth(device, _COPY_BYTES[kind]),
            matmul_flops_per_s=matmul_rate(device, dtype, _MATMUL_SIDE[kind]),
        )


def copy_bandwidth(device: Device, size: int) -> float | None:
    """Return bytes read and written per second while ``size`` bytes are copied.

    The copy goes into memory that exists already: a clone without its allocation, which on a CPU
    would mostly measure the page faults of fresh memory.
    """
    try:
        source = torch.ones(size, dtype=torch.uint8, device=device.torch_device)
        target = torch.zeros_like(source)
        return 2 * size / _least_seconds(device, lambda: target.copy_(source))
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise


def matmul_rate(device: Device, dtype: str, side: int) -> float | None:
    """Return floating-point operations per second of one square matrix product (2 per MAC)."""
    try:
        left = torch.randn(side, side, device=device.torch_device).to(DTYPES[dtype])
        right = torch.randn(side, side, device=device.torch_device).to(DTYPES[dtype])
        return 2 * side**3 / _least_seconds(device, lambda: left @ right)
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise


def _least_seconds(device: Device, run: Run) -> float:
    """Return the best of several samples: a limit is what the device can do undisturbed."""
    device.seconds(run, 1, cold=False)
    return min(device.seconds(run, 1, cold=False) for _ in range(_SAMPLES))
