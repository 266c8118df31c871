"""How channels of a map move, and a function that moves them: the reference of a foreign shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from s2mlp_cli.directions import OFFSETS

Border = Literal["copied", "kept", "zero", "wrapped"]

BORDERS: dict[Border, str] = {
    "copied": "",
    "kept": " whose border keeps its own values",
    "zero": " with zeros at the border",
    "wrapped": " that wraps around at the border",
}

NAMES = {offset: name for name, offset in OFFSETS.items()}


@dataclass(frozen=True)
class Move:
    """What happens to some channels.

    Attributes:
        first, last: the channels, both included.
        dh, dw: rows and columns by which their content moves.
        border: what is read from outside the map: the nearest pixel (``copied``), the pixel itself
            (``kept``), zero, or the other side (``wrapped``). Steps of one row make ``copied`` and
            ``kept`` the same; then it is ``copied``.
        smeared: fraction of the values that moved further than one step, since they were read after
            they had been overwritten; the other attributes are those without that.
    """

    first: int
    last: int
    dh: int
    dw: int
    border: Border = "copied"
    smeared: float = 0.0

    @property
    def channels(self) -> slice:
        return slice(self.first, self.last + 1)

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def moves(self) -> bool:
        return (self.dh, self.dw) != (0, 0)

    @property
    def direction(self) -> str:
        """``down``, ``down by 2``, ``1 down and 2 left``, or ``unmoved``."""
        if (self.dh, self.dw) in NAMES:
            return NAMES[self.dh, self.dw]
        words = [
            (abs(self.dh), "down" if self.dh > 0 else "up"),
            (abs(self.dw), "right" if self.dw > 0 else "left"),
        ]
        steps = [(count, word) for count, word in words if count]
        if len(steps) == 1:
            return f"{steps[0][1]} by {steps[0][0]}"
        return " and ".join(f"{count} {word}" for count, word in steps) or "unmoved"


def moved(x: Tensor, moves: tuple[Move, ...]) -> Tensor:
    """Compute what ``moves`` say on a map of B,H,W,C: the reference of a foreign shift.

    Channels that no move names stay.
    """
    height, width = x.shape[1:3]
    parts, position = [], 0
    for move in moves:
        parts += [x[..., position : move.first], _moved(x[..., move.channels], move, height, width)]
        position = move.last + 1
    return torch.cat([*parts, x[..., position:]], dim=-1)


def _moved(x: Tensor, move: Move, height: int, width: int) -> Tensor:
    rows, columns, inside = _read_from(move, height, width, x.device)
    if move.border == "wrapped":
        return x[:, rows % height][:, :, columns % width]
    near = x[:, rows.clamp(0, height - 1)][:, :, columns.clamp(0, width - 1)]
    if move.border == "zero":
        return torch.where(inside[..., None], near, torch.zeros_like(near))
    return torch.where(inside[..., None], near, x) if move.border == "kept" else near


def inside(move: Move, height: int, width: int) -> Tensor:
    """Return height,width: which pixels of the result come from inside the map."""
    return _read_from(move, height, width, torch.device("cpu"))[2]


def _read_from(
    move: Move, height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row and the column that each one reads, and whether both are in the map."""
    rows = torch.arange(height, device=device) - move.dh
    columns = torch.arange(width, device=device) - move.dw
    return (
        rows,
        columns,
        ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width)),
    )
