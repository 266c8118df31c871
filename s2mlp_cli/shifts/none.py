"""No shift at all: the reference that tells what a shift costs a model. Wrong by design."""

from __future__ import annotations

from torch import Tensor

from s2mlp_cli.directions import Directions
from s2mlp_cli.shifts.types import ShiftFunction


def shift_none(x: Tensor, directions: Directions) -> Tensor:
    """Return ``x`` itself."""
    return x


IMPLEMENTATION = ShiftFunction("none", "shifts taken out: WRONG on purpose", shift_none, safe=False)
