"""What the Triton kernels share: whether they can run here, and their tables of offsets.

Imports no Triton, so that the registry can ask where there is none. The kernels use no function
of Triton's own library that is itself jitted (``tl.sum``, ``tl.zeros``, ``tl.cdiv``): those are
fixed to compiling or interpreting when Triton is first imported, by whichever package that was.
"""

from __future__ import annotations

import importlib.util
import math
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from s2mlp_cli.directions import Splits, offsets_of
from s2mlp_cli.shifts.torch_shifts import remembered


def interpreted() -> bool:
    """Whether TRITON_INTERPRET is set: kernels then run on the CPU, slowly."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in {"1", "true", "yes", "on"}


def unavailable(device: torch.device) -> str | None:
    """Return why Triton kernels cannot run on ``device``, or None."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; install it, or choose an implementation without it"
    if device.type != "cuda" and not interpreted():
        return (
            f"Triton kernels run on cuda, not on {device.type}; "
            "set TRITON_INTERPRET=1 to run them slowly in its interpreter"
        )
    return None


def on_device(x: Tensor) -> AbstractContextManager[object]:
    """Make the GPU of ``x`` the current one: Triton launches there, and on its stream.

    While a compiler records, its own code does that.
    """
    if x.device.type != "cuda" or torch.compiler.is_compiling():
        return nullcontext()
    return torch.cuda.device(x.device)


def shared_memory(device: torch.device) -> int:
    """Return the bytes of shared memory that one program can have on ``device``."""
    if device.type != "cuda":
        return 1 << 30
    properties: Any = torch.cuda.get_device_properties(device)
    return int(properties.shared_memory_per_block_optin)


def segments(splits: Splits) -> int:
    """Return into how many equal runs of channels the groups of all splits cut a map."""
    return math.lcm(*(max(len(directions), 1) for directions in splits))


@remembered
def offset_table(splits: Splits, device: torch.device) -> Tensor:
    """Return (dh, dw) for every split and segment, K,S,2: a kernel reads two scalars a program."""
    count = segments(splits)
    rows = [offsets_of(count, directions) for directions in splits]
    return torch.tensor(rows, dtype=torch.int32, device=device)


def power_of_two_block(size: int, largest: int, smallest: int = 16) -> int:
    """Return the block that covers ``size`` with the least padding, the largest of equals."""
    blocks = [smallest << i for i in range((largest // smallest).bit_length())]
    return min(blocks, key=lambda block: (-(-size // block) * block, -block))
