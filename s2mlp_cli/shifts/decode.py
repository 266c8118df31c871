"""Where did every value come from? A shift as a black box, told by a map of unique numbers.

A function that only moves data turns a map of unique numbers into a map of sources. From one call
each channel's movement and border are read; a second call under ``functionalize``, where nothing is
overwritten before it is read, tells a shift that smears from one that computes something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from s2mlp_cli.directions import OFFSETS, Directions
from s2mlp_cli.shifts.types import Layout

Border = Literal["copied", "kept", "zero", "wrapped"]

# The memory order of a map B,H,W,C in each layout, and back.
_TO: dict[Layout, Callable[[Tensor], Tensor]] = {
    "B,H,W,C": lambda x: x,
    "B,C,H,W": lambda x: x.permute(0, 3, 1, 2),
    "B,N,C": lambda x: x.flatten(1, 2),
}

_NAMES = {offset: name for name, offset in OFFSETS.items()}


def to_layout(x: Tensor, layout: Layout) -> Tensor:
    """Return a map of B,H,W,C in another layout: a view where one is possible."""
    return _TO[layout](x)


def from_layout(x: Tensor, layout: Layout, height: int, width: int) -> Tensor:
    """Return B,H,W,C of a map in ``layout``."""
    if layout == "B,C,H,W":
        return x.permute(0, 2, 3, 1)
    return x.reshape(len(x), height, width, -1) if layout == "B,N,C" else x


def numbered(batch: int, height: int, width: int, channels: int) -> Tensor:
    """Return a float64 map B,H,W,C in which every value is another whole number.

    The numbers alternate in sign and none is twice another, so that arithmetic on them (a ReLU, a
    doubling) does not give a number of the map.
    """
    count = batch * height * width * channels
    numbers = torch.arange(count, dtype=torch.float64) + count
    numbers[1::2] *= -1
    return numbers.view(batch, height, width, channels)


@dataclass(frozen=True)
class Move:
    """What happens to some channels.

    Attributes:
        first, last: the channels, both included.
        dh, dw: rows and columns by which their content moves.
        border: what is read from outside the map: the nearest pixel (``copied``), the pixel itself
            (``kept``), zero, or the other side (``wrapped``). Steps of one row make ``copied`` and
            ``kept`` the same; then it is ``copied``.
    """

    first: int
    last: int
    dh: int
    dw: int
    border: Border

    @property
    def channels(self) -> slice:
        return slice(self.first, self.last + 1)

    @property
    def moves(self) -> bool:
        return (self.dh, self.dw) != (0, 0)

    @property
    def direction(self) -> str:
        """``down``, ``down by 2``, ``1 down and 2 left``, or ``unmoved``."""
        if (self.dh, self.dw) in _NAMES:
            return _NAMES[self.dh, self.dw]
        words = [
            (abs(self.dh), "down" if self.dh > 0 else "up"),
            (abs(self.dw), "right" if self.dw > 0 else "left"),
        ]
        steps = [(count, word) for count, word in words if count]
        if len(steps) == 1:
            return f"{steps[0][1]} by {steps[0][0]}"
        return " and ".join(f"{count} {word}" for count, word in steps) or "unmoved"


@dataclass(frozen=True)
class Decoded:
    """The sources of one output.

    Attributes:
        moves: runs of channels that move alike, in order; those not explained are left out.
        explained: fraction of all values that these moves give.
        crossing: fraction of values that come from another channel.
        mixing: fraction of values that come from another image.
        foreign: fraction of values that are neither of the input nor zero.
    """

    moves: tuple[Move, ...]
    explained: float
    crossing: float
    mixing: float
    foreign: float

    @property
    def whole(self) -> bool:
        """Whether every value is explained."""
        return self.explained == 1.0

    @property
    def moving(self) -> bool:
        """Whether any channel moves."""
        return any(move.moves for move in self.moves)

    @property
    def borders(self) -> tuple[Border, ...]:
        return tuple(dict.fromkeys(move.border for move in self.moves if move.moves))

    @property
    def directions(self) -> Directions | None:
        """The directions of a true shift: equal groups, single steps, copied border; else None."""
        sizes = {move.last - move.first + 1 for move in self.moves}
        names = [_NAMES.get((move.dh, move.dw)) for move in self.moves]
        if not self.whole or self.borders != ("copied",):
            return None
        equal = _divided(self.moves)
        if equal is not None:
            return equal
        return tuple(n for n in names if n) if len(sizes) == 1 and all(names) else None


def _divided(moves: tuple[Move, ...]) -> Directions | None:
    """Split runs that move alike into equal groups: up, up, down is a shift of three directions."""
    sizes = [move.last - move.first + 1 for move in moves]
    size = math.gcd(*sizes)
    names = [_NAMES.get((move.dh, move.dw)) for move in moves]
    if not all(names) or sum(sizes) // size > len(OFFSETS):
        return None
    return tuple(
        str(name) for name, own in zip(names, sizes, strict=True) for _ in range(own // size)
    )


def decode(given: Tensor, found: Tensor) -> Decoded:
    """Read the sources of ``found`` off its values.

    Args:
        given: what :func:`numbered` returned, B,H,W,C.
        found: the output for it, B,H,W,C.
    """
    source = found.abs().round().long() - given.numel()
    known = (source >= 0) & (source < given.numel())
    _, height, width, channels = given.shape
    here = torch.arange(given.numel()).view(given.shape)
    source = torch.where(known, source, here)
    known &= found == given.flatten()[source]

    def places(index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return (
            index // (height * width * channels),
            index // (width * channels) % height,
            index // channels % width,
            index % channels,
        )

    images, rows, columns, own = places(here)
    from_images, from_rows, from_columns, from_channels = places(source)
    straight = known & (from_channels == own) & (from_images == images)
    per_channel: list[tuple[int, int, Border] | None] = []
    explained = 0.0
    for channel in range(channels):
        mask = straight[..., channel]
        best: tuple[int, int, Border] | None = None
        if mask.any():
            steps = torch.stack(
                [
                    (rows - from_rows)[..., channel][mask],
                    (columns - from_columns)[..., channel][mask],
                ],
                dim=1,
            )
            best, part = _best(given, found, channel, _likely(steps))
            explained += part
        per_channel.append(best)
    return Decoded(
        moves=_runs(per_channel),
        explained=explained / channels if explained < channels else 1.0,
        crossing=_fraction(known & (from_channels != own)),
        mixing=_fraction(known & (from_images != images)),
        foreign=_fraction(~known & (found != 0)),
    )


def _fraction(mask: Tensor) -> float:
    return float(mask.double().mean())


def _likely(steps: Tensor) -> list[tuple[int, int]]:
    """Return the commonest movements; a border or a smear makes others beside the true one."""
    unique, counts = torch.unique(steps, dim=0, return_counts=True)
    order = counts.argsort(descending=True)[:6]
    return [(int(unique[place, 0]), int(unique[place, 1])) for place in order]


def _best(
    given: Tensor, found: Tensor, channel: int, steps: list[tuple[int, int]]
) -> tuple[tuple[int, int, Border], float]:
    """Return the movement and border that give most of a channel's values."""
    borders: tuple[Border, ...] = ("copied", "kept", "zero", "wrapped")
    ranked = []
    for dh, dw in steps:
        for border in borders:
            move = Move(0, 0, dh, dw, border)
            expected = moved(given[..., channel : channel + 1], (move,))
            match = float((expected[..., 0] == found[..., channel]).double().mean())
            ranked.append((match, (dh, dw, border)))
    match, best = max(ranked, key=lambda one: one[0])
    return best, match


def _runs(channels: list[tuple[int, int, Border] | None]) -> tuple[Move, ...]:
    runs: list[Move] = []
    for place, found in enumerate(channels):
        if found is None:
            continue
        last = runs[-1] if runs else None
        if last and last.last == place - 1 and (last.dh, last.dw, last.border) == found:
            runs[-1] = Move(last.first, place, *found)
        else:
            runs.append(Move(place, place, *found))
    return tuple(runs)


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
    rows = torch.arange(height, device=x.device) - move.dh
    columns = torch.arange(width, device=x.device) - move.dw
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    if move.border == "wrapped":
        return x[:, rows % height][:, :, columns % width]
    near = x[:, rows.clamp(0, height - 1)][:, :, columns.clamp(0, width - 1)]
    if move.border == "zero":
        return torch.where(inside[..., None], near, torch.zeros_like(near))
    return torch.where(inside[..., None], near, x) if move.border == "kept" else near
