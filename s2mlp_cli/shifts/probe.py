"""What does a foreign shift really compute? It is called as a black box, always on a copy.

The verdict rests on where values come from (:mod:`s2mlp_cli.shifts.decode`), on several sizes,
batches, dtypes and memory formats; percentages are given with the size at which they were taken,
since what overlapping writes do depends on it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from s2mlp_cli.cores import threads
from s2mlp_cli.directions import Directions
from s2mlp_cli.records.verify import Smear
from s2mlp_cli.shifts.behaviour import (
    ASKED,
    ASKED_THEN,
    COMPILED,
    DIAGONAL,
    LARGE,
    PAPERS,
    SIZES,
    Called,
    Finding,
    Read,
    Size,
    behaviour,
    compare_sizes,
    normal,
    same,
)
from s2mlp_cli.shifts.decode import Decoded, decode, listed, numbered, percent, smeared
from s2mlp_cli.shifts.foreign import ForeignShift
from s2mlp_cli.shifts.types import Layout

LAYOUTS: tuple[Layout, ...] = ("B,H,W,C", "B,C,H,W", "B,N,C")

# 48 divides by 2, 3, 4, 6 and 8; functions that are written for one width get others.
_WIDTHS = (48, 64, 96, 128, 192, 256, 320, 384, 512, 768, 1024)

# Maps for functions that are written for one size.
_FIXED: tuple[Size, ...] = tuple((2, side, side) for side in (14, 7, 8, 16, 28, 32))
_SMALLEST, _LARGEST = 4, 4096


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        verdict: the answer, in a sentence.
        read: how it is called and what moves; None where it cannot be called.
        is_shift: whether it moves whole groups of channels and nothing else, whatever its border.
        smears: groups that are overwritten; empty for most.
        findings: how it behaves beside its values, in sentences.
        ambiguous: whether another layout explains all its values as well.
    """

    verdict: str
    read: Read | None = None
    is_shift: bool = False
    smears: tuple[Smear, ...] = ()
    findings: tuple[str, ...] = ()
    ambiguous: bool = False

    @property
    def splits(self) -> str | None:
        """The line for a spec's mixer that says the same, where there is one."""
        directions = self.read.decoded.directions if self.is_shift and self.read else None
        return f"splits: [[{', '.join(directions)}]]" if directions else None

    def reference(self, x: Tensor, directions: Directions = ()) -> Tensor:
        """Compute on a map of B,H,W,C what it was found to do, where ``directions`` are asked."""
        assert self.read is not None
        return self.read.expected(x, directions)


def probe(
    shift: ForeignShift, layout: Layout | None = None, device: torch.device | str = "cpu"
) -> Probe:
    """Call ``shift`` on maps of many kinds and say what it is.

    Args:
        shift: what :func:`s2mlp_cli.shifts.foreign.load_foreign` returned.
        layout: of its maps, where values cannot tell.
        device: where it is called.
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sys.stderr),
        shift.code.beside(),
        threads(1),
    ):
        warnings.simplefilter("ignore")
        return _probe(shift, layout, torch.device(device))


class _Reading(NamedTuple):
    """What was read on one size in the layout that explains most, and what others explain."""

    read: Read
    others: dict[Layout, Decoded]


def _probe(shift: ForeignShift, wanted: Layout | None, device: torch.device) -> Probe:
    errors: dict[str, str] = {}
    readings = _readings(shift, (wanted,) if wanted else LAYOUTS, device, errors)
    first = next(readings, None)
    if first is None:
        widths = dict.fromkeys(str(channels) for channels, _ in _attempts(shift, errors))
        tried = f"was called with {listed([*widths])} channels"
        reasons = "; ".join([*errors.values()][:2])
        return Probe(f"cannot be called on a map: {reasons}", findings=(*shift.notes, tried))
    if _is_random(first.read):
        said = "not a shift: two calls on the same map give different values"
        return Probe(said, first.read, findings=shift.notes)
    read, others = _agreeing(itertools.chain([first], readings))
    found: list[Finding] = []
    is_told = "directions" in read.shift.takes.values()
    if is_told and read.decoded.whole and read.decoded.moving:
        follows, found = _follows(read)
        read = replace(read, follows=follows)
    found += behaviour(read)
    smears = _smears(read)
    fatal = [each.said for each in found if each.fatal]
    is_moving = read.decoded.whole and read.decoded.moving
    if smears:
        verdict = _smeared(read, smears, COMPILED in [each.said for each in found])
    elif not read.decoded.whole:
        verdict = _unexplained(read, wanted)
    elif not read.decoded.moving:
        verdict = "not a shift: the identity, nothing moves"
    elif fatal:
        verdict = f"not a shift: {fatal[0]}"
    else:
        alike = [f"{each.said} on {layout}" for layout, each in others.items()]
        verdict = ", or ".join([f"{read.decoded.said} on {read.layout}", *alike[:1]])
    is_shift = is_moving and not smears and not fatal
    told = [each.said for each in found if each.said not in verdict]
    findings = (*shift.notes, *told)
    return Probe(verdict, read, is_shift, smears, findings, is_shift and bool(others))


def _agreeing(readings: Iterator[_Reading]) -> _Reading:
    """Return the first reading that holds on all sizes, or else the best.

    On a small map, a step by 7 and one by 4 the other way may look alike.
    """
    best: _Reading | None = None
    for reading in readings:
        if best is None or reading.read.decoded.whole > best.read.decoded.whole:
            best = reading
        if reading.read.decoded.whole and not compare_sizes(reading.read)[1]:
            return reading
    assert best is not None
    return best


def _readings(
    shift: ForeignShift, layouts: tuple[Layout, ...], device: torch.device, errors: dict[str, str]
) -> Iterator[_Reading]:
    """Yield what is read on each size, in the first way and with the first width that run."""
    for channels, size in _attempts(shift, errors):
        for way in shift.ways:
            first = _reading(way, layouts, device, numbered(size, channels), errors)
            if first:
                yield first
                others = (numbered(each, channels) for each in SIZES if each != size)
                again = (_reading(way, layouts, device, given, errors) for given in others)
                yield from filter(None, again)
                return


def _reading(
    way: ForeignShift,
    layouts: tuple[Layout, ...],
    device: torch.device,
    given: Tensor,
    errors: dict[str, str],
) -> _Reading | None:
    """Call it in each layout; its errors are kept by what is left of them without numbers."""
    found: dict[Layout, Decoded] = {}
    for layout in layouts:
        called = Called(way, layout, device)
        result = called.eager(given)
        if isinstance(result, str):
            errors.setdefault(re.sub(r"[\d, ]+", "", result), result)
        else:
            found[layout] = called.decode(given, result)
    if not found:
        return None
    best = max(found, key=lambda layout: found[layout].fit)
    others = {
        layout: each
        for layout, each in found.items()
        if layout != best and each.whole and each.moving
    }
    return _Reading(Read(way, best, device, found[best]), others)


def _attempts(shift: ForeignShift, errors: dict[str, str]) -> Iterator[tuple[int, Size]]:
    """Yield channels and sizes to call it with, the likeliest first.

    Functions that are written for one width or one size name it in an argument, in their code or
    in their error.
    """
    usual, size = _WIDTHS[0], SIZES[0]
    yield usual, size
    named = [int(each) for each in re.findall(r"\d+", " ".join(errors.values()))]
    own = [each for each in (*shift.constants, *named) if isinstance(each, int)]
    own = [each for each in dict.fromkeys(own) if _SMALLEST <= each <= _LARGEST][:8]
    sizes = (*_own_sizes(shift), *_FIXED)
    yield from ((each, size) for each in own)
    yield from ((usual, each) for each in SIZES[1:4])
    yield from ((each, size) for each in _WIDTHS[1:])
    yield from ((usual, each) for each in sizes)
    yield from ((width, each) for width in (*own, *_WIDTHS[1:]) for each in sizes)


def _own_sizes(shift: ForeignShift) -> list[Size]:
    """Return the sizes of maps that its arguments, defaults and code name."""
    constants = (
        tuple(each) if isinstance(each, list | tuple) else (each, each) for each in shift.constants
    )
    return [
        (2, *sides)
        for sides in constants
        if len(sides) == 2
        and all(isinstance(side, int) and _SMALLEST <= side <= 64 for side in sides)
    ]


def _is_random(read: Read) -> bool:
    x = normal(read.decoded.shape)
    results = [read.eager(x) for _ in range(4)]
    maps = [each.nan_to_num(0.5) for each in results if isinstance(each, Tensor)]
    return len(maps) not in (0, 4) or not all(torch.equal(maps[0], each) for each in maps)


def _follows(read: Read) -> tuple[bool, list[Finding]]:
    """Tell whether it moves by the directions that it is given, and what it does instead."""
    given = read.numbered()
    results = {asked: read.eager(given, asked) for asked in (ASKED, ASKED_THEN, DIAGONAL)}
    if same(results[ASKED], results[ASKED_THEN]):
        return False, [Finding("ignores its directions")]
    follows, found = True, []
    for asked, result in results.items():
        if not same(result, replace(read, follows=True).expected(given, asked)):
            does = (
                f"fails: {result}"
                if isinstance(result, str)
                else f"gives {decode(given, result).said}"
            )
            follows &= asked == DIAGONAL
            found.append(Finding(f"asked for {', '.join(asked)}, it {does}", asked != DIAGONAL))
    moves = [Finding("moves by the directions that it is given")] * follows
    return follows, [*moves, *found]


def _smears(read: Read) -> tuple[Smear, ...]:
    """Return the groups that smear, on the first of some maps on which they do."""
    if not read.decoded.whole:
        return ()
    for size in (PAPERS, read.decoded.shape[:3], LARGE):
        given = read.numbered(size)
        found = read.eager(given)
        decoded = read.decode(given, found) if isinstance(found, Tensor) else read.decoded
        if decoded.whole and decoded.smears:
            return decoded.smears
    return ()


# In words ----------------------------------------------------------------------------------------


def _smeared(read: Read, smears: tuple[Smear, ...], compiled: bool) -> str:
    wrong = sum(smear.wrong for smear in smears) / len(smears)
    images, height, width = smears[0].size
    return (
        f"not a shift: {smeared(smears)} ({percent(wrong)} of "
        f"{'its' if len(smears) == 1 else 'their'} values wrong at {height}x{width}"
        f"{f' with {images} images' * (images > 1)} on {read.layout}), because it reads what it "
        f"has just written; {'compiled it gives other values; ' * compiled}clone first, and it is "
        f"{read.decoded.meant}"
    )


def _unexplained(read: Read, wanted: Layout | None) -> str:
    decoded = read.decoded
    if wanted and decoded.others["come from other channels"]:
        layouts = tuple(each for each in LAYOUTS if each != wanted)
        other = next(_readings(read.shift, layouts, read.device, {}), None)
        if other and other.read.decoded.whole:
            return f"moves channels: written for {other.read.layout}, called with {wanted}"
    height, width = decoded.shape[1:3]
    given = read.numbered()
    found = read.eager(given)
    if isinstance(found, Tensor) and decoded.others["are not values of its input"] > 0.5:
        for dtype, name in ((torch.float16, "half precision"), (torch.bfloat16, "bfloat16")):
            rounded = torch.cat([given.to(dtype).float().flatten(), torch.zeros(1)])
            if bool(torch.isin(found.float(), rounded).all()):
                return f"not a shift: it rounds its values, as {name} does"
    return f"not a shift: at {height}x{width} on {read.layout}, {decoded.parts}"
