"""The device that a command runs on."""

from __future__ import annotations

import torch

from s2mlp_cli.errors import UnavailableError


def target(name: str | None = None, local_rank: int = 0) -> torch.device:
    """Return the device called ``name``; None means the GPU if there is one, else the CPU.

    Of several processes on a machine each takes the GPU of its ``local_rank``, unless ``name`` says
    which.

    A GPU becomes the current one: events and the launches of Triton's kernels go to the current
    device, wherever their tensors are.

    Raises:
        UnavailableError: there is no such device here; the sentence says which there are.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = ["cpu", *(f"cuda:{index}" for index in range(count))]
    wanted = name or "cpu"
    if count and name in (None, "cuda"):
        wanted = f"cuda:{local_rank % count}"
    if wanted not in present:
        raise UnavailableError(
            f"there is no device '{name}' here; use --device with {' or '.join(present)}"
        )
    place = torch.device(wanted)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    return place
