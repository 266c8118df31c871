"""No shift at all: the reference that tells what a shift costs a model. Wrong by design.

The mixer runs it on the same way as every other one and copies nothing for it: its maps stay views
of the expanded map, C of K*C channels wide, where the others hand on dense maps of their own. All
that it can lose against them is what the fusion's read of a strided map costs over that of a dense
one; on a busy machine that alone, with the noise, has made it look slower than `slice` once.
"""

from __future__ import annotations

from torch import Tensor

from s2mlp_cli.directions import Directions
from s2mlp_cli.shifts.types import ShiftFunction


def shift_none(x: Tensor, directions: Directions) -> Tensor:
    """Return ``x`` itself."""
    return x


IMPLEMENTATION = ShiftFunction("none", "shifts taken out: WRONG on purpose", shift_none, safe=False)
