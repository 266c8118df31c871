"""What does a foreign shift really compute? It is called as a black box, always on a copy.

The verdict rests on where values come from (:mod:`s2mlp_cli.shifts.decode`), on several sizes,
batches, dtypes and memory formats; percentages are given with the size at which they were taken,
since what overlapping writes do depends on it.
"""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions
from s2mlp_cli.records.verify import Smear
from s2mlp_cli.shifts.behaviour import (
    ASKED,
    ASKED_THEN,
    LARGE,
    PAPERS,
    SIZES,
    Called,
    Finding,
    Read,
    behaviour,
    same,
)
from s2mlp_cli.shifts.decode import Decoded, decode, listed, numbered
from s2mlp_cli.shifts.foreign import ForeignShift
from s2mlp_cli.shifts.types import Layout

LAYOUTS: tuple[Layout, ...] = ("B,H,W,C", "B,C,H,W", "B,N,C")

# 48 divides by 2, 3, 4, 6 and 8; functions that are written for one width get others.
_CHANNELS = (48, 64, 96, 256, 512)


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        verdict: the answer, in a sentence.
        read: how it is called and what moves; None where it cannot be called.
        is_shift: whether it moves whole groups of channels and nothing else, whatever its border.
        smears: groups that are overwritten; empty for most.
        findings: how it behaves beside its values, in sentences.
    """

    verdict: str
    read: Read | None = None
    is_shift: bool = False
    smears: tuple[Smear, ...] = ()
    findings: tuple[str, ...] = ()

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
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr), shift.code.beside():
        warnings.simplefilter("ignore")
        return _probe(shift, layout, torch.device(device))


def _probe(shift: ForeignShift, wanted: Layout | None, device: torch.device) -> Probe:
    decodings, why = _decodings(shift, (wanted,) if wanted else LAYOUTS, device)
    if not decodings:
        return Probe(f"cannot be called on a map: {why}", findings=shift.notes)
    layout, decoded = next(iter(decodings.items()))
    is_moving = decoded.whole and decoded.moving
    read = Read(shift, layout, device, decoded)
    if _is_random(read):
        said = "not a shift: two calls on the same map give different values"
        return Probe(said, read, findings=shift.notes)
    is_told = "directions" in shift.takes.values()
    follows, found = _follows(read) if is_told and is_moving else (False, [])
    read = replace(read, follows=follows)
    smears = _smears(read) if decoded.whole else ()
    found += behaviour(read, bool(smears))
    fatal = [each.said for each in found if each.fatal]
    if smears:
        verdict = _smeared(read, smears)
    elif not decoded.whole:
        verdict = _unexplained(read, wanted)
    elif not decoded.moving:
        verdict = "not a shift: the identity, nothing moves"
    elif fatal:
        verdict = f"not a shift: {fatal[0]}"
    else:
        verdict = _true(decodings)
    told = [each.said for each in found if each.said not in verdict]
    is_shift = is_moving and not smears and not fatal
    return Probe(verdict, read, is_shift, smears, (*shift.notes, *told))


def _decodings(
    shift: ForeignShift, layouts: tuple[Layout, ...], device: torch.device
) -> tuple[dict[Layout, Decoded], str]:
    """Return what each layout explains, the best first, and why it fails in the others.

    Of the sizes, it is the first on which a layout explains all values, or else on which it runs.
    """
    best: dict[Layout, Decoded] = {}
    errors: dict[str, str] = {}  # by what is left of them without numbers
    widths = [each for each in shift.given.values() if isinstance(each, int) and 4 <= each <= 4096]
    for channels in dict.fromkeys((*_CHANNELS[:1], *widths, *_CHANNELS)):
        for size in SIZES:
            if best and size not in SIZES[:2]:
                break
            given, read = numbered(size, channels), {}
            for layout in layouts:
                found = Called(shift, layout, device).pure(given)
                if isinstance(found, str):
                    errors.setdefault(re.sub(r"[\d, ]+", "", found), found)
                else:
                    read[layout] = decode(given, found)
            order = sorted(read, key=lambda each: (-read[each].explained, not read[each].moving))
            if order and (not best or read[order[0]].explained == 1):
                best = {layout: read[layout] for layout in order}
            if _explained(best) == 1:
                return best, ""
        if best:
            break
    return best, "; ".join([*errors.values()][:2])


def _explained(decodings: dict[Layout, Decoded]) -> float:
    """Return how much the best layout explains; less than nothing where there is none."""
    return next((each.explained for each in decodings.values()), -1.0)


def _is_random(read: Read) -> bool:
    first, *others = (read.eager(read.numbered()) for _ in range(3))
    return not all(same(first, other) for other in others)


def _follows(read: Read) -> tuple[bool, list[Finding]]:
    """Tell whether it moves by the directions that it is given, and what it does instead."""
    given = read.numbered()
    results = {asked: read.eager(given, asked) for asked in (ASKED, ASKED_THEN)}
    if same(*results.values()):
        return False, [Finding("ignores its directions")]
    for asked, found in results.items():
        if not same(found, replace(read, follows=True).expected(given, asked)):
            does = found if isinstance(found, str) else decode(given, found).said
            return False, [Finding(f"asked for {', '.join(asked)}, it gives {does}", True)]
    return True, []


def _smears(read: Read) -> tuple[Smear, ...]:
    """Return the groups to which overlapping writes give other values than the moves."""
    for size in (PAPERS, read.decoded.shape[:3], LARGE):
        given = read.numbered(size)
        eager, pure = read.eager(given), read.pure(given)
        if isinstance(eager, Tensor) and isinstance(pure, Tensor) and not torch.equal(eager, pure):
            wrong = (eager != pure).double().mean((0, 1, 2))
            groups = enumerate(read.decoded.moves, 1)
            shares = [(g, m.direction, float(wrong[m.channels].mean())) for g, m in groups]
            return tuple(
                Smear(group=g, direction=d, wrong=share) for g, d, share in shares if share
            )
    return ()


# In words ----------------------------------------------------------------------------------------


def _true(decodings: dict[Layout, Decoded]) -> str:
    """Say which shift it is; several layouts may explain one direction for all channels."""
    whole = [
        f"{each.said} on {layout}"
        for layout, each in decodings.items()
        if each.whole and each.moving
    ]
    return whole[0] if len(whole) == 1 else f"{', or '.join(whole[:2])}; choose with --layout"


def _smeared(read: Read, smears: tuple[Smear, ...]) -> str:
    few = len(smears) == 1
    groups = listed([str(smear.group) for smear in smears])
    wrong = sum(smear.wrong for smear in smears) / len(smears)
    return (
        f"not a shift: group{'' if few else 's'} {groups} smear{'s' if few else ''} "
        f"({wrong:.1%} of {'its' if few else 'their'} values wrong at 14x14 on {read.layout}), "
        "because it reads what it has just written; compiled it gives other values; clone "
        f"first, and it is {read.decoded.said}"
    )


def _unexplained(read: Read, wanted: Layout | None) -> str:
    decoded = read.decoded
    if wanted and decoded.others["come from other channels"]:
        layouts = tuple(each for each in LAYOUTS if each != wanted)
        others, _ = _decodings(read.shift, layouts, read.device)
        if _explained(others) == 1:
            return f"moves channels: written for {next(iter(others))}, called with {wanted}"
    height, width = decoded.shape[1:3]
    given = read.numbered()
    small = (torch.arange(given.numel()) % 251).float().view(given.shape)  # exact in any type
    found = read.eager(small)
    if decoded.foreign and isinstance(found, Tensor) and bool(torch.isin(found, small).all()):
        return "not a shift: it rounds its values, as half precision does"
    return f"not a shift: at {height}x{width} on {read.layout}, {decoded.parts}"
