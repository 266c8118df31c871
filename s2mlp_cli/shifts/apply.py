"""The spatial shift as one function, for people who need nothing else of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2mlp_cli.directions import OFFSETS, Directions
from s2mlp_cli.errors import UnavailableError, did_you_mean
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import ShiftFunction

if TYPE_CHECKING:
    from torch import Tensor


def shift(x: Tensor, directions: Directions, implementation: str = registry.DEFAULT) -> Tensor:
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
    chosen = registry.get(implementation)
    if not isinstance(chosen, ShiftFunction):
        raise UnavailableError(
            f"'{implementation}' is a kernel for a whole mixer; give it to build_model, or choose "
            "an implementation of the shift alone"
        )
    reason = chosen.unavailable(x.device)
    if reason is not None:
        raise UnavailableError(f"the shift '{implementation}' cannot run on {x.device}: {reason}")
    return chosen.run(x, tuple(directions))
