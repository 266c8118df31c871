"""Where did every value come from? A shift as a black box, told by a map of unique numbers.

A function that only moves data turns a map of unique numbers into a map of sources: from one call
each channel's movement and border are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from s2mlp_cli.directions import OFFSETS, Directions
from s2mlp_cli.records.verify import Smear
from s2mlp_cli.shifts.moves import BORDERS, NAMES, Border, Move, inside, moved

# Groups that a sentence names.
_MOST_NAMED = 12
# Of the pixels whose source is inside the map: a move that explains less explains nothing.
_MOST_INSIDE = 0.75
# Interpolated pixels are off by less; the numbers of a map are whole.
ROUNDING = 0.3


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
class Decoded:
    """The sources of one output.

    Attributes:
        shape: B,H,W,C of the map.
        moves: runs of channels that move alike, in order; those not explained are left out.
        groups: what every run of channels does, in words, those that are not explained too.
        others: where values come from that do not move as in a shift -> their fraction of all.
        fit: how well a layout explains the values, to be compared: the channels that move or stay,
            the fraction that moves of the pixels whose source is inside the map, and the channels
            of which anything can be told.
    """

    shape: tuple[int, ...]
    moves: tuple[Move, ...]
    groups: tuple[str, ...]
    others: Mapping[str, float]
    fit: tuple[float, ...]

    @property
    def whole(self) -> bool:
        """Whether all channels move, or stay."""
        return sum(move.size for move in self.moves) == self.shape[-1]

    @property
    def moving(self) -> bool:
        """Whether any channel moves."""
        return any(move.moves for move in self.moves)

    @property
    def order(self) -> tuple[tuple[int, int, Border], ...]:
        """What moves, one after the other, however many channels each has."""
        return tuple((move.dh, move.dw, move.border) for move in self.moves if move.moves)

    @property
    def smears(self) -> tuple[Smear, ...]:
        """The groups that read what they have written."""
        return tuple(
            Smear(group=group, direction=move.direction, wrong=move.smeared, size=self.shape[:3])
            for group, move in enumerate(self.moves, 1)
            if move.smeared
        )

    @property
    def parts(self) -> str:
        """Where its values come from, in percent, the most first, and what each group does."""
        shares = {**self.others, "move as in a shift": 1 - sum(self.others.values())}
        ordered = sorted(shares.items(), key=lambda each: -each[1])
        told = [f"{percent(share)} {what}" for what, share in ordered if share > 1e-9]
        groups = f": {_some(self.groups)}" * bool(self.groups)
        return f"of its values {listed(told)}{groups}"

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
        names = [NAMES.get((move.dh, move.dw)) for move in self.moves]
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
        if self.smears:
            return smeared(self.smears)
        if not self.moving:
            return "nothing moves"
        return self.meant

    @property
    def meant(self) -> str:
        """The same of a shift, without what is overwritten."""
        if self.directions:
            return f"a true shift: {', '.join(self.directions)}"
        at = BORDERS[self.borders[0]] if len(self.borders) == 1 else " with different borders"
        names = [move.direction for move in self.moves]
        turns = next(n for n in range(1, len(names) + 1) if names[:n] * (len(names) // n) == names)
        stay = not all(move.moves for move in self.moves)
        if len({move.size for move in self.moves}) == 1 and (turns < len(names) or not stay):
            again = f", {len(names) // turns} times over" * (turns < len(names))
            return f"a shift{at}: {', '.join(names[:turns])}{again}"
        groups = tuple(
            f"{move.direction} ({_spans([*range(move.first, move.last + 1)])} of {self.shape[-1]})"
            for move in self.moves
            if move.moves
        )
        return f"a shift{at}: {_some(groups)}" + "; the other channels stay" * stay


def smeared(smears: tuple[Smear, ...]) -> str:
    """Say which groups are overwritten: ``groups 1 and 3 smear``."""
    groups = listed([str(smear.group) for smear in smears])
    return f"group {groups} smears" if len(smears) == 1 else f"groups {groups} smear"


def sources(given: Tensor, found: Tensor) -> Tensor:
    """Return for every value of ``found`` its place in the flattened ``given``, or -1."""
    count, whole = given.numel(), found.double().round()
    near = (found.double() - whole).abs() < ROUNDING
    number = whole.nan_to_num(0, 0, 0).abs().clamp(max=3 * count).long() - count
    source = given.flatten().abs().argsort()[number.clamp(0, count - 1)]
    return torch.where(near & (given.flatten()[source] == whole), source, -1)


_STAYS = Move(0, 0, 0, 0)


@dataclass(frozen=True)
class _Fit:
    """How well a move explains one channel.

    Attributes:
        share: fraction of its values; ``inner``: of those whose source is inside the map.
        smears: whether the others moved by the same step several times over.
    """

    move: Move = _STAYS
    share: float = 0.0
    inner: float = 0.0
    smears: bool = False

    @property
    def rank(self) -> float:
        """The better the higher; what misses most of the inside explains nothing."""
        if self.share < 1 and self.smears:
            return 0.9999
        return self.share if self.inner > _MOST_INSIDE else 0.0

    @property
    def whole(self) -> bool:
        return self.share == 1 or self.smears


def decode(given: Tensor, found: Tensor, rewrites: bool = False) -> Decoded:
    """Read the sources of ``found`` off its values.

    Args:
        given: what :func:`numbered` returned, B,H,W,C.
        found: the output for it, B,H,W,C.
        rewrites: whether it was seen to read what it had written. Then a group in which every value
            moved by its step, once or several times over, is a group that smears.
    """
    origin, (_, height, width, channels) = sources(given, found), given.shape
    places = torch.unravel_index(torch.arange(given.numel()).view(given.shape), given.shape)
    from_places = torch.unravel_index(origin.clamp(min=0), given.shape)
    image, row, column, channel = (a - b for a, b in zip(places, from_places, strict=True))
    known, zero = origin >= 0, found == 0
    straight, steps = known & (channel == 0) & (image == 0), torch.stack([row, column], dim=-1)
    tried: dict[tuple[int, int], list[int]] = {}
    for place in range(channels):
        for step in _likely(steps[..., place, :][straight[..., place]], height, width):
            tried.setdefault(step, []).append(place)
    fits, rest = [_Fit()] * channels, torch.ones(given.shape, dtype=torch.bool)
    for step, own in sorted(tried.items(), key=lambda each: _length(each[0])):
        repeated = straight[..., own] & _repeats(steps[..., own, :], step) & rewrites
        for border in BORDERS:
            move = Move(0, len(own) - 1, *step, border)
            within = inside(move, height, width)
            same = (moved(given[..., own], (move,)) - found[..., own]).abs() < ROUNDING
            smears = torch.where(within[..., None], repeated, same).flatten(0, 2).all(0)
            numbers = zip(_shares(same), _shares(same[:, within]), smears.tolist(), strict=True)
            for index, (place, fit) in enumerate(zip(own, numbers, strict=True)):
                if _Fit(move, *fit).rank > fits[place].rank:
                    fits[place] = _Fit(move, *fit)
                    rest[..., place] = ~same[..., index] & (not fits[place].whole)
    crossing = (known & (channel == channel[:1, :1, :1]) & (channel != 0)).flatten(0, 2).all(0)
    kinds = [
        (fit.move.dh, fit.move.dw, fit.move.border)
        if fit.whole
        else "zero"
        if zero[..., place].all()
        else "from other channels"
        if crossing[place]
        else f"{fit.move.direction} but for"
        if fit.rank
        else "no shift"
        for place, fit in enumerate(fits)
    ]
    kept = {*(places[3] - channel)[known].tolist()}
    moves, groups = _runs(kinds, fits)
    missing = [place for place in range(channels) if place not in kept]
    if missing and "no shift" not in kinds:
        groups = (*groups, f"the values of {_spans(missing)} are lost")
    return Decoded(
        shape=tuple(given.shape),
        moves=moves,
        groups=groups,
        others={
            "come from other pixels": _fraction(rest & straight),
            "come from other channels": _fraction(rest & known & (channel != 0) & (image == 0)),
            "come from other images": _fraction(rest & known & (image != 0)),
            "are zero": _fraction(rest & ~known & zero),
            "are not values of its input": _fraction(rest & ~known & ~zero),
        },
        fit=(
            sum(fit.whole for fit in fits),
            sum(fit.inner * (fit.rank > 0) for fit in fits) / channels,
            sum(kind != "no shift" for kind in kinds),
        ),
    )


def _length(step: tuple[int, int]) -> int:
    return abs(step[0]) + abs(step[1])


def _fraction(mask: Tensor) -> float:
    return float(mask.double().mean())


def _shares(same: Tensor) -> list[float]:
    """Return the fraction of every channel."""
    return list(same.double().flatten(0, -2).mean(0).tolist())


def _likely(steps: Tensor, height: int, width: int) -> list[tuple[int, int]]:
    """Return the commonest movements, and the shortest, of which a smear has multiples.

    A movement by more than half of the map is none: beside its border there is too little of it.
    """
    unique, counts = torch.unique(steps, dim=0, return_counts=True)
    ordered = [(int(dh), int(dw)) for dh, dw in unique[counts.argsort(descending=True)]]
    near = [(dh, dw) for dh, dw in ordered if 2 * abs(dh) <= height and 2 * abs(dw) <= width]
    shortest = sorted((step for step in near if any(step)), key=_length)
    return [*dict.fromkeys((*near[:3], *shortest[:1]))]


def _repeats(steps: Tensor, step: tuple[int, int]) -> Tensor:
    """Tell which movements are ``step``, once or several times over."""
    (dh, dw), (row, column) = step, steps.unbind(-1)
    times = (row * dh + column * dw) // max(1, dh * dh + dw * dw)
    return (times > 0) & (row == times * dh) & (column == times * dw)


def _runs(kinds: list[Any], fits: list[_Fit]) -> tuple[tuple[Move, ...], tuple[str, ...]]:
    """Return what single channels do as runs of channels that do the same, and all in words."""
    moves, words = [], []
    for kind, run in groupby(range(len(kinds)), kinds.__getitem__):
        places = [*run]
        wrong = sum(1 - fits[place].share for place in places) / len(places)
        what = kind
        if not isinstance(kind, str):
            move = replace(fits[places[0]].move, first=places[0], last=places[-1], smeared=wrong)
            moves.append(move)
            what = move.direction + " (smears)" * (wrong > 0)
        elif kind.endswith("but for"):
            what = f"{kind} {percent(wrong)} of its values"
        words.append(f"{what} ({_spans(places)} of {len(kinds)})")
    return tuple(moves), () if {*kinds} == {"no shift"} else tuple(words)


def _spans(places: list[int]) -> str:
    """Return ``channels 0-3, 8-11`` for numbers in order."""
    runs = [[*run] for _, run in groupby(places, lambda place: place - places.index(place))]
    told = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return f"channel{'s' * (len(places) > 1)} {told}"


def percent(share: float) -> str:
    """Return a percentage that is 0 or 100 only where all values are meant."""
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def listed(words: list[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _some(groups: tuple[str, ...]) -> str:
    more = f" and {len(groups) - _MOST_NAMED} more groups" * (len(groups) > _MOST_NAMED)
    return ", ".join(groups[:_MOST_NAMED]) + more
