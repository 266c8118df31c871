"""Every implementation of the shift by name. Importing this module does not import torch."""

from __future__ import annotations

import importlib

from s2mlp_cli.errors import UnavailableError, did_you_mean
from s2mlp_cli.shifts.types import Implementation

# name -> the module whose IMPLEMENTATION it is.
_MODULES = {
    "oracle": "s2mlp_cli.shifts.oracle",
    "slice": "s2mlp_cli.shifts.slices",
    "roll": "s2mlp_cli.shifts.roll",
    "conv": "s2mlp_cli.shifts.conv",
    "deform": "s2mlp_cli.shifts.deform",
    "gather": "s2mlp_cli.shifts.gather",
    "fused": "s2mlp_cli.shifts.fused",
    "triton": "s2mlp_cli.shifts.triton_shift",
    "fused-triton": "s2mlp_cli.shifts.fused_triton",
    "fused-gemm": "s2mlp_cli.shifts.fused_gemm",
    "inplace": "s2mlp_cli.shifts.inplace",
    "none": "s2mlp_cli.shifts.none",
}

# Every name, in the order in which people read them.
NAMES: tuple[str, ...] = tuple(_MODULES)

# The four implementations that the papers and the public code name.
SOURCE = ("slice", "roll", "conv", "deform")

# Known not to compute the shift: never part of ``all``, never a default.
UNSAFE = ("inplace", "none")

DEFAULT = "slice"


def get(name: str) -> Implementation:
    """Return the implementation called ``name``.

    Raises:
        UnavailableError: there is none of that name; the message lists those there are.
    """
    if name not in _MODULES:
        raise UnavailableError(
            f"there is no shift implementation '{name}'{did_you_mean(name, NAMES) or ';'} "
            f"known: {', '.join(NAMES)}"
        )
    implementation: Implementation = importlib.import_module(_MODULES[name]).IMPLEMENTATION
    return implementation


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
        if name not in _MODULES:
            get(name)
    return names
