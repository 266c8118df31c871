"""Every implementation of the shift by name. Importing this module does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2mlp_cli.directions import OFFSETS, Directions
from s2mlp_cli.errors import UnavailableError, did_you_mean
from s2mlp_cli.records.base import BASELINE, FLOORS
from s2mlp_cli.shifts.types import Implementation, MixerKernel, ShiftFunction
from s2mlp_cli.user_code import names_code

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# A name of an earlier version -> its replacement.
_REPLACED = {"fused-gemm": "fused-project"}

# Every name, in the order in which people read them.
NAMES = (
    "oracle", "slice", "concat", "roll", "conv", "deform", "gather", "fused", "triton",
    "fused-triton", "fused-project", "inplace", "none", "products",
)  # fmt: skip

# Those whose modules import Triton.
_TRITON = ("triton", "fused-triton", "fused-project")

# Known not to compute the shift: never part of ``all``, never a default.
UNSAFE = ("inplace", *FLOORS)

# Users' shifts by name (:mod:`s2mlp_cli.shifts.contender`), in this process.
_ADDED: dict[str, ShiftFunction] = {}

# Of build_model.
DEFAULT = BASELINE


def get(name: str) -> Implementation:
    """Return the implementation called ``name``.

    Raises:
        UnavailableError: the name is unknown; the message lists the known ones.
    """
    if name in _ADDED:
        return _ADDED[name]
    if name in _REPLACED:
        raise UnavailableError(
            f"'{name}' was removed; use '{_REPLACED[name]}', which reads the expanded map once"
        )
    if name not in NAMES:
        raise UnavailableError(
            f"there is no shift implementation '{name}'{did_you_mean(name, NAMES) or ';'} "
            f"known: {', '.join(NAMES)}"
        )
    # Plain imports: import_module would break the compiler's graph.
    if name in _TRITON:
        from s2mlp_cli.shifts import fused_project, fused_triton, triton_shift

        of_triton: dict[str, Implementation] = {
            "triton": triton_shift.IMPLEMENTATION,
            "fused-triton": fused_triton.IMPLEMENTATION,
            "fused-project": fused_project.IMPLEMENTATION,
        }
        return of_triton[name]
    from s2mlp_cli.shifts import fused, torch_shifts

    return fused.IMPLEMENTATION if name == "fused" else torch_shifts.IMPLEMENTATIONS[name]


def add(function: ShiftFunction) -> None:
    """Let a shift be found by its name, instead of an earlier one of the same name."""
    _ADDED[function.name] = function


def added(name: str) -> ShiftFunction | None:
    """Return what :func:`add` was given under a name."""
    return _ADDED.get(name)


def form(name: str | None, device: torch.device, dtype: torch.dtype, recorded: bool) -> str | None:
    """Return which of its forms an implementation runs, if it picks one by where it runs.

    Args:
        name: of the implementation; None for a model without shifts.
        device: where it runs.
        dtype: of its maps.
        recorded: whether a compiler or exporter records it.
    """
    implementation = get(name) if name in NAMES else None
    if not isinstance(implementation, MixerKernel) or implementation.form is None:
        return None
    return implementation.form(device, dtype, recorded)


def parse(text: str) -> tuple[str, ...]:
    """Turn ``"conv"``, ``"slice,conv"`` or ``"all,inplace"`` into names; ``all``: every safe one.

    A user's own, ``mine.py:my_shift``, is passed on as it is.

    Raises:
        UnavailableError: a name is unknown, or there is none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    safe = [name for name in NAMES if name not in UNSAFE]
    names = tuple(
        dict.fromkeys(name for part in parts for name in (safe if part == "all" else [part]))
    )
    if not names:
        raise UnavailableError(
            f"'{text}' does not name a shift implementation; known: all, {', '.join(NAMES)}"
        )
    for name in names:
        if name not in NAMES and not names_code(name):
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
        UnavailableError: an unknown direction or implementation, one that cannot run on this
            device, or a kernel for a whole mixer.
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
            f"'{implementation}' computes a whole mixer; pass it to build_model, or choose an "
            "implementation of the shift alone"
        )
    chosen.check_available(x.device)
    return chosen.run(x, tuple(directions))
