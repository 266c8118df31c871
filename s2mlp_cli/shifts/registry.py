"""Every implementation of the shift by name. Importing this module does not import torch."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from s2mlp_cli.directions import OFFSETS, Directions
from s2mlp_cli.errors import UnavailableError, did_you_mean
from s2mlp_cli.records.base import BASELINE, FLOORS
from s2mlp_cli.shifts.types import Implementation, ShiftFunction

if TYPE_CHECKING:
    from torch import Tensor

# name -> the module and the object in it.
_HOMES = {
    "oracle": "torch_shifts:ORACLE",
    "slice": "torch_shifts:SLICE",
    "concat": "torch_shifts:CONCAT",
    "roll": "torch_shifts:ROLL",
    "conv": "torch_shifts:CONV",
    "deform": "torch_shifts:DEFORM",
    "gather": "torch_shifts:GATHER",
    "fused": "fused:IMPLEMENTATION",
    "triton": "triton_shift:IMPLEMENTATION",
    "fused-triton": "fused_triton:IMPLEMENTATION",
    "fused-project": "fused_project:IMPLEMENTATION",
    "inplace": "torch_shifts:INPLACE",
    "none": "torch_shifts:NONE",
    "products": "torch_shifts:PRODUCTS",
}

# A name of an earlier version -> what took its place.
_REPLACED = {"fused-gemm": "fused-project"}

# Every name, in the order in which people read them.
NAMES: tuple[str, ...] = tuple(_HOMES)

# The four implementations that the papers and the public code name.
SOURCE = ("slice", "roll", "conv", "deform")

# Known not to compute the shift: never part of ``all``, never a default.
UNSAFE = ("inplace", *FLOORS)

# What models are built with unless somebody chooses.
DEFAULT = BASELINE


def get(name: str) -> Implementation:
    """Return the implementation called ``name``.

    Raises:
        UnavailableError: there is none of that name; the message lists those there are.
    """
    if name in _REPLACED:
        raise UnavailableError(
            f"'{name}' was removed: '{_REPLACED[name]}' replaces it, with one read of the expanded "
            "map; use that"
        )
    if name not in _HOMES:
        raise UnavailableError(
            f"there is no shift implementation '{name}'{did_you_mean(name, NAMES) or ';'} "
            f"known: {', '.join(NAMES)}"
        )
    module, _, attribute = _HOMES[name].partition(":")
    implementation: Implementation = getattr(_module(module), attribute)
    return implementation


def _module(name: str) -> ModuleType:
    """Import one of the modules; import_module would break the compiler's graph."""
    if name == "torch_shifts":
        from s2mlp_cli.shifts import torch_shifts

        return torch_shifts
    if name == "fused":
        from s2mlp_cli.shifts import fused

        return fused
    if name == "triton_shift":
        from s2mlp_cli.shifts import triton_shift

        return triton_shift
    if name == "fused_triton":
        from s2mlp_cli.shifts import fused_triton

        return fused_triton
    from s2mlp_cli.shifts import fused_project

    return fused_project


def parse(text: str) -> tuple[str, ...]:
    """Turn ``"conv"``, ``"slice,conv"`` or ``"all,inplace"`` into names; ``all``: every safe one.

    Raises:
        UnavailableError: one of the names is not known, or there is none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    safe = [name for name in NAMES if name not in UNSAFE]
    names = tuple(
        dict.fromkeys(name for part in parts for name in (safe if part == "all" else [part]))
    )
    if not names:
        raise UnavailableError(
            f"'{text}' names no shift implementation; known: all, {', '.join(NAMES)}"
        )
    for name in names:
        if name not in _HOMES:
            get(name)
    return names


def shift(x: Tensor, directions: Directions, implementation: str = BASELINE) -> Tensor:
    """Move each equal group of the channels of ``x`` (B,H,W,C) by its direction.

    ``out[b, h, w, c] = x[b, clamp(h - dh), clamp(w - dw), c]`` (S2-MLP, section 3.2).

    Args:
        x: B,H,W,C, of any float type and any strides.
        directions: such as ``("right", "left", "down", "up")``; C must divide by their number.
        implementation: a name of the registry; ``s2mlp env`` lists them.

    Returns:
        A tensor of the same shape, dtype and device.

    Raises:
        UnavailableError: no such direction or implementation, it cannot run on this device, or
            it is a kernel for a whole mixer.
        ValueError: the channels do not divide by the directions.
    """
    for direction in directions:
        if direction not in OFFSETS:
            raise UnavailableError(
                f"there is no direction '{direction}'{did_you_mean(direction, OFFSETS) or ';'} "
                f"known: {', '.join(OFFSETS)}"
            )
    chosen = get(implementation)
    if not isinstance(chosen, ShiftFunction):
        raise UnavailableError(
            f"'{implementation}' is a kernel for a whole mixer; give it to build_model, or choose "
            "an implementation of the shift alone"
        )
    reason = chosen.unavailable(x.device)
    if reason is not None:
        raise UnavailableError(f"the shift '{implementation}' cannot run on {x.device}: {reason}")
    return chosen.run(x, tuple(directions))
