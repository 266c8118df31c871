"""Where did every value come from? A shift as a black box, told by a map of unique numbers.

A function that only moves data turns a map of unique numbers into a map of sources: from one call
each channel's movement and border are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from s2mlp_cli.directions import OFFSETS, Directions
from s2mlp_cli.shifts.types import Layout

Border = Literal["copied", "kept", "zero", "wrapped"]

_BORDERS: dict[Border, str] = {
    "copied": "",
    "kept": " whose border keeps its own values",
    "zero": " with zeros at the border",
    "wrapped": " that wraps around at the border",
}

# Different movements that are tried for each channel: more groups than any shift has.
_MOST_STEPS = 32
# Groups that a sentence names.
_MOST_NAMED = 12

_NAMES = {offset: name for name, offset in OFFSETS.items()}


def to_layout(x: Tensor, layout: Layout) -> Tensor:
    """Return a map of B,H,W,C in another layout: a view where one is possible."""
    if layout == "B,C,H,W":
        return x.permute(0, 3, 1, 2)
    return x.flatten(1, 2) if layout == "B,N,C" else x


def from_layout(x: Tensor, layout: Layout, height: int, width: int) -> Tensor:
    """Return B,H,W,C of a map in ``layout``."""
    if layout == "B,C,H,W":
        return x.permute(0, 2, 3, 1)
    return x.reshape(len(x), height, width, -1) if layout == "B,N,C" else x


def numbered(size: tuple[int, ...], channels: int) -> Tensor:
    """Return a float32 map B,H,W,C, in which every value is another whole number.

    ``size``: images, rows and columns. The numbers have no order, two signs, and none is twice
    another, so that arithmetic on them (a mean, a ReLU, a doubling) does not give numbers of the
    map.
    """
    count = math.prod(size) * channels
    numbers = torch.randperm(count, generator=torch.Generator().manual_seed(0)) + count
    return (numbers * (1 - 2 * (numbers % 2))).float().view(*size, channels)


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
    border: Border = "copied"

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
        shape: B,H,W,C of the map.
        moves: runs of channels that move alike, in order; those not explained are left out.
        explained: fraction of all values that moves of whole channels give.
        others: where the other values come from -> their fraction of all values.
    """

    shape: tuple[int, ...]
    moves: tuple[Move, ...]
    explained: float
    others: Mapping[str, float]

    @property
    def whole(self) -> bool:
        """Whether every value is explained."""
        return sum(move.size for move in self.moves) == self.shape[-1]

    @property
    def moving(self) -> bool:
        """Whether any channel moves."""
        return any(move.moves for move in self.moves)

    @property
    def parts(self) -> str:
        """Where its values come from, in percent, the most first."""
        shares = {**self.others, "move as in a shift": self.explained}
        ordered = sorted(shares.items(), key=lambda each: -each[1])
        return "of its values " + listed([f"{s:.1%} {what}" for what, s in ordered if s >= 0.0005])

    @property
    def foreign(self) -> bool:
        """Whether most of its values are not values of its input."""
        return self.others["are not values of its input"] > 0.5

    @property
    def borders(self) -> tuple[Border, ...]:
        found = dict.fromkeys(move.border for move in self.moves if move.moves)
        straight = all(abs(m.dh) + abs(m.dw) < 2 for m in self.moves if m.border == "copied")
        if straight and "kept" in found:  # by one, copied is kept
            found.pop("copied", None)
        return tuple(found)

    @property
    def directions(self) -> Directions | None:
        """The directions of a true shift: equal groups, single steps, copied border; else None.

        Runs that move alike may be several groups: up, up, down is a shift of three directions.
        """
        names = [_NAMES.get((move.dh, move.dw)) for move in self.moves]
        if not self.whole or self.borders != ("copied",) or not all(names):
            return None
        size = math.gcd(*(move.size for move in self.moves))
        if self.shape[-1] // size > len(OFFSETS):
            return None
        runs = zip(names, self.moves, strict=True)
        return tuple(str(name) for name, move in runs for _ in range(move.size // size))

    @property
    def said(self) -> str:
        """What it does, in words: ``a shift with zeros at the border: down, left``."""
        if not self.whole:
            return self.parts
        if not self.moving:
            return "nothing moves"
        if self.directions:
            return f"a true shift: {', '.join(self.directions)}"
        at = _BORDERS[self.borders[0]] if len(self.borders) == 1 else " with different borders"
        names = [move.direction for move in self.moves]
        turns = next(n for n in range(1, len(names) + 1) if names[:n] * (len(names) // n) == names)
        stay = not all(move.moves for move in self.moves)
        if len({move.size for move in self.moves}) == 1 and (turns < len(names) or not stay):
            again = f", {len(names) // turns} times over" * (turns < len(names))
            return f"a shift{at}: {', '.join(names[:turns])}{again}"
        groups = [
            f"{move.direction} (channels {move.first}-{move.last} of {self.shape[-1]})"
            for move in self.moves
            if move.moves
        ]
        more = f" and {len(groups) - _MOST_NAMED} more groups" * (len(groups) > _MOST_NAMED)
        said = f"a shift{at}: {', '.join(groups[:_MOST_NAMED])}{more}"
        return said + "; the other channels stay" * stay


def decode(given: Tensor, found: Tensor) -> Decoded:
    """Read the sources of ``found`` off its values.

    Args:
        given: what :func:`numbered` returned, B,H,W,C.
        found: the output for it, B,H,W,C.
    """
    count, found = given.numel(), found.double()
    whole = found.round()  # interpolated pixels are off by rounding
    found = torch.where((found - whole).abs() < 0.3, whole, found)
    number = found.nan_to_num(0, 0, 0).abs().clamp(max=3 * count).round().long() - count
    order = given.flatten().abs().argsort()
    source = order[number.clamp(0, count - 1)]
    known = given.flatten()[source] == found
    places = torch.unravel_index(torch.arange(count).view(given.shape), given.shape)
    from_places = torch.unravel_index(source, given.shape)
    image, row, column, channel = (a - b for a, b in zip(places, from_places, strict=True))
    straight = known & (channel == 0) & (image == 0)
    steps = torch.stack([row, column], dim=-1)
    likely: Counter[tuple[int, int]] = Counter()
    for place in range(given.shape[-1]):
        likely.update(_commonest(steps[..., place, :][straight[..., place]]))
    # The smallest first: by 1, wrapped, is also by 1 - H the other way.
    ordered = sorted(dict(likely.most_common(_MOST_STEPS)) or {(0, 0): 0}, key=_length)
    tried = [Move(0, given.shape[-1] - 1, *step, border) for step in ordered for border in _BORDERS]
    best, fraction = torch.zeros(given.shape[-1], dtype=torch.long), torch.zeros(given.shape[-1])
    rest = torch.ones(given.shape, dtype=torch.bool)
    for index, move in enumerate(tried):
        same = moved(given, (move,)) == found
        share = same.float().mean((0, 1, 2))
        better = share > fraction
        best[better], fraction[better] = index, share[better]
        rest = torch.where(better, ~same, rest)
    return Decoded(
        shape=tuple(given.shape),
        moves=_runs(
            [tried[i] if f == 1 else None for f, i in zip(fraction, best.tolist(), strict=True)]
        ),
        explained=1 - _fraction(rest),
        others={
            "come from other pixels": _fraction(rest & straight),
            "come from other channels": _fraction(rest & known & (channel != 0) & (image == 0)),
            "come from other images": _fraction(rest & known & (image != 0)),
            "are zero": _fraction(rest & ~known & (found == 0)),
            "are not values of its input": _fraction(rest & ~known & (found != 0)),
        },
    )


def _length(step: tuple[int, int]) -> int:
    return abs(step[0]) + abs(step[1])


def listed(words: list[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _fraction(mask: Tensor) -> float:
    return float(mask.double().mean())


def _commonest(steps: Tensor) -> dict[tuple[int, int], int]:
    """Count the commonest movements; a border makes others beside the true one."""
    unique, counts = torch.unique(steps, dim=0, return_counts=True)
    order = counts.argsort(descending=True)[:3]
    return {(int(unique[i, 0]), int(unique[i, 1])): int(counts[i]) for i in order}


def _runs(channels: list[Move | None]) -> tuple[Move, ...]:
    """Return what single channels do as runs of channels that do the same."""
    runs, place = [], 0
    for found, same in groupby(channels):
        after = place + len([*same])
        if found is not None:
            runs.append(replace(found, first=place, last=after - 1))
        place = after
    return tuple(runs)


def scaled(moves: tuple[Move, ...], old: int, channels: int) -> tuple[Move, ...]:
    """Return the moves of ``old`` channels for another number of them, in proportion."""
    return tuple(
        replace(
            move,
            first=move.first * channels // old,
            last=(move.last + 1) * channels // old - 1,
        )
        for move in moves
    )


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
