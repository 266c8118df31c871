"""What does a foreign shift really compute? It is called as a black box, always on a copy.

The verdict rests on where values come from (:mod:`s2mlp_cli.shifts.decode`), on several sizes,
batches and memory formats; percentages stand beside it with the size at which they were taken,
since what overlapping writes do depends on it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.shifts.decode import Decoded, Move, decode, moved, numbered
from s2mlp_cli.shifts.foreign import ForeignShift
from s2mlp_cli.shifts.types import Layout

LAYOUTS: tuple[Layout, ...] = ("B,H,W,C", "B,C,H,W", "B,N,C")

# B,H,W,C: no two extents alike, wide enough for steps of several pixels, and channels that divide
# by 2, 3, 4, 6 and 8, two and more to a group.
_MAP = (2, 11, 13, 48)
_SQUARE = (2, 12, 12, 48)
# Where shares of wrong values are taken: the map of the papers' first models.
_SHARES = (1, 14, 14, 64)
# Over 32,768 values to each of four groups, where torch cuts a copy among threads.
_LARGE = (1, 56, 56, 64)

# What a shift that takes directions is asked for.
ASKED: Directions = ("down", "up", "right", "left")


@dataclass(frozen=True)
class Smear:
    """Channels whose values are overwritten before they are read.

    Attributes:
        group: which group, counted from 1.
        move: what they would do if nothing were overwritten.
        wrong: fraction of their values that differ from that, at :data:`_SHARES`.
    """

    group: int
    move: Move
    wrong: float


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        layout: of the maps it takes; None where it cannot be called.
        also: another layout that explains all values as well.
        decoded: the sources of its values, if nothing is overwritten before it is read.
        smears: groups that are overwritten; empty for most.
        random: two calls on one map differ.
        findings: how it behaves beside its values, in sentences.
        verdict: the answer, in a sentence.
        splits: the line for a spec, where a spec can say the same.
    """

    layout: Layout | None
    decoded: Decoded | None
    verdict: str
    also: Layout | None = None
    smears: tuple[Smear, ...] = ()
    random: bool = False
    findings: tuple[str, ...] = ()
    splits: str | None = None

    @property
    def is_shift(self) -> bool:
        """Whether it moves whole groups of channels and nothing else, whatever its border."""
        whole = self.decoded is not None and self.decoded.whole
        moving = self.decoded is not None and self.decoded.moving
        return whole and moving and not self.smears and not self.random

    def reference(self, x: Tensor) -> Tensor:
        """Compute what it was found to compute, on a map of B,H,W,C of the same channels."""
        assert self.decoded is not None
        return moved(x, scaled(self.decoded.moves, x.shape[-1]))


def scaled(moves: tuple[Move, ...], channels: int) -> tuple[Move, ...]:
    """Return the moves for another number of channels, group by group in proportion."""
    old = _MAP[-1]
    return tuple(
        Move(
            move.first * channels // old,
            (move.last + 1) * channels // old - 1,
            move.dh,
            move.dw,
            move.border,
        )
        for move in moves
    )


def probe(shift: ForeignShift, layout: Layout | None = None) -> Probe:
    """Call ``shift`` on maps of many kinds and say what it is.

    Args:
        shift: what :func:`s2mlp_cli.shifts.foreign.load_foreign` returned.
        layout: of its maps, where values cannot tell.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _Prober(shift).probe(layout)


class _Prober:
    """One shift under test."""

    def __init__(self, shift: ForeignShift) -> None:
        self._shift = shift

    def probe(self, wanted: Layout | None) -> Probe:
        layouts = (wanted,) if wanted else LAYOUTS
        square = False
        found, errors = self._explanations(layouts, _MAP)
        if not found:
            found, more = self._explanations(layouts, _SQUARE)
            square = bool(found)
            errors = errors or more
        if not found:
            reasons = "; ".join(dict.fromkeys(errors.values()))
            return Probe(None, None, f"cannot be called on a map: {reasons}")
        ranked = sorted(found, key=lambda name: (-found[name].explained, not found[name].moving))
        layout = ranked[0]
        decoded = found[layout]
        alike = [n for n in ranked[1:] if found[n].whole and found[n].moving and decoded.moving]
        size = _SQUARE if square else _MAP
        random = self._is_random(layout, size)
        smears = () if random else self._smears(layout, decoded, square)
        findings = () if random else tuple(self._behaviour(layout, decoded, square, smears))
        also = alike[0] if alike else None
        return Probe(
            layout=layout,
            decoded=decoded,
            also=also,
            smears=smears,
            random=random,
            findings=(*self._shift.notes, *findings),
            verdict=self._verdict(layout, also, found, smears, random, wanted),
            splits=_splits(decoded) if not smears and not random else None,
        )

    def _explanations(
        self, layouts: tuple[Layout, ...], shape: tuple[int, ...]
    ) -> tuple[dict[Layout, Decoded], dict[Layout, str]]:
        """Return what each layout explains, and why it fails in the others."""
        found: dict[Layout, Decoded] = {}
        errors: dict[Layout, str] = {}
        for layout in layouts:
            given = numbered(*shape)
            try:
                found[layout] = decode(given, self._pure(given, layout))
            except Exception as error:  # noqa: BLE001  (an error of the user's function is a finding)
                errors[layout] = _said(error)
        return found, errors

    def _call(self, x: Tensor, layout: Layout) -> Tensor:
        """Call it on a copy of ``x`` (B,H,W,C) that lies in memory as its layout says."""
        return self._shift.call(_laid_out(x, layout), layout, self._directions)

    @property
    def _directions(self) -> Directions:
        return ASKED if self._shift.takes_directions else ()

    def _pure(self, x: Tensor, layout: Layout) -> Tensor:
        """Call it so that nothing is overwritten before it is read, where that is possible."""
        function = torch.func.functionalize(lambda given: self._call(given, layout))
        try:
            with torch.no_grad():
                found: Tensor = function(x).clone()
                return found
        except UserCodeError:
            raise
        except Exception:  # noqa: BLE001  (it may leave torch, as for numpy: then it runs as it is)
            with torch.no_grad():
                return self._call(x, layout).clone()

    def _eager(self, x: Tensor, layout: Layout) -> Tensor:
        with torch.no_grad():
            return self._call(x, layout).clone()

    def _is_random(self, layout: Layout, shape: tuple[int, ...]) -> bool:
        first, *others = (self._eager(numbered(*shape), layout) for _ in range(3))
        return not all(torch.equal(first, other) for other in others)

    def _smears(self, layout: Layout, decoded: Decoded, square: bool) -> tuple[Smear, ...]:
        """Return the groups that eager mode gives other values than functional evaluation."""
        shapes = (_SHARES, _SQUARE) if square else (_SHARES, _MAP, _LARGE)
        differs = False
        shares: Tensor | None = None
        for shape in shapes:
            given = numbered(*shape)
            try:
                wrong = self._eager(given, layout) != self._pure(given, layout)
            except Exception:  # noqa: BLE001  (sizes that fail are found beside this)
                continue
            differs = differs or bool(wrong.any())
            if shares is None or (shape == _SHARES):
                shares = wrong.double().mean((0, 1, 2))
        if not differs or shares is None:
            return ()
        moves = scaled(decoded.moves, len(shares))
        return tuple(
            Smear(place, move, float(shares[move.channels].mean()))
            for place, move in enumerate(moves, 1)
            if bool(shares[move.channels].any())
        )

    def _behaviour(
        self, layout: Layout, decoded: Decoded, square: bool, smears: tuple[Smear, ...]
    ) -> Iterator[str]:
        """Yield what users trip over."""
        if square:
            yield "fails on maps that are not square" + self._why((2, 5, 7, 48), layout)
        yield from self._other_sizes(layout, decoded, square)
        yield from self._input_changed(layout, square)
        yield from self._autograd(layout, decoded, square, smears)
        shape = _SQUARE if square else _MAP
        yield from self._dependence(layout, shape)
        yield from self._compiled(layout, shape)

    def _why(self, shape: tuple[int, ...], layout: Layout) -> str:
        try:
            self._eager(numbered(*shape), layout)
        except Exception as error:  # noqa: BLE001
            return f": {_said(error)}"
        return ""

    def _other_sizes(self, layout: Layout, decoded: Decoded, square: bool) -> Iterator[str]:
        """Try channels that do not divide, a map of one row, one image, and a larger map."""
        side = (6, 6) if square else (5, 7)
        odd = (2, *side, 46)
        sizes = {
            "46 channels, which do not divide by 4": odd,
            "a map of one pixel": (1, 1, 1, 48),
            "one image": (1, *side, 48),
        }
        if not square:
            sizes["a map of one row"] = (2, 1, 7, 48)
        for what, shape in sizes.items():
            given = numbered(*shape)
            try:
                found = self._pure(given, layout)
            except Exception as error:  # noqa: BLE001
                yield f"fails at {what}: {_said(error)}"
                continue
            lost = decode(given, found)
            if shape == odd and decoded.whole and not lost.whole:
                yield f"with 46 channels, {1 - lost.explained:.1%} of the values are no moved ones"
            elif shape == odd:
                rest = [move for move in lost.moves if not move.moves]
                if rest and all(move.moves for move in decoded.moves):
                    count = sum(move.last - move.first + 1 for move in rest)
                    yield f"with 46 channels, {count} stay where they are"

    def _input_changed(self, layout: Layout, square: bool) -> Iterator[str]:
        given = _laid_out(numbered(*(_SQUARE if square else _MAP)), layout)
        before = given.clone()
        with torch.no_grad():
            found = self._shift.call(given, layout, self._directions)
        if not torch.equal(given, before):
            yield "changes its input: x + f(x) adds the moved map to itself; give it a copy"
        elif found.data_ptr() == given.data_ptr():
            yield "returns a view of its input"

    def _autograd(
        self, layout: Layout, decoded: Decoded, square: bool, smears: tuple[Smear, ...]
    ) -> Iterator[str]:
        shape = _SQUARE if square else _MAP
        leaf = _laid_out(numbered(*shape), layout).requires_grad_()
        before: dict[str, Callable[[Tensor], Tensor]] = {
            "on a leaf that needs a gradient": lambda x: x,
            "after a ReLU in training": torch.relu,
            "after a sigmoid in training": torch.sigmoid,
        }
        for what, operator in before.items():
            try:
                out = self._shift.call(operator(leaf), layout, self._directions)
                torch.autograd.grad(out.sum(), leaf)
            except Exception as error:  # noqa: BLE001
                yield f"fails {what}: {_said(error)}"
        yield from self._gradient(layout, decoded, shape, smears)

    def _gradient(
        self, layout: Layout, decoded: Decoded, shape: tuple[int, ...], smears: tuple[Smear, ...]
    ) -> Iterator[str]:
        """Compare autograd's gradient with that of the values which were found."""
        leaf = _laid_out(numbered(*shape), layout).requires_grad_()
        weights = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
        try:
            out = self._shift.call(leaf * 1, layout, self._directions)
            (own,) = torch.autograd.grad((out * weights).sum(), leaf)
        except Exception as error:  # noqa: BLE001
            yield f"has no gradient: {_said(error)}"
            return
        if smears:
            yield "its gradient is that of the true shift, not of what it computes"
            return
        if not decoded.whole:
            return
        other = leaf.detach().clone().requires_grad_()
        expected = moved(other, scaled(decoded.moves, shape[-1]))
        (true,) = torch.autograd.grad((expected * weights).sum(), other)
        if not torch.allclose(own, true):
            yield "its gradient is not that of what it computes"

    def _dependence(self, layout: Layout, shape: tuple[int, ...]) -> Iterator[str]:
        """Yield on what beside an image its result depends."""
        given = numbered(*shape)
        whole = self._eager(given, layout)
        alone = torch.cat([self._eager(given[b : b + 1], layout) for b in range(len(given))])
        if not torch.equal(whole, alone):
            yield "an image's result depends on the images beside it"
        small = (torch.arange(given[:1].numel()).double() % 251 - 125).view(given[:1].shape)
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            try:
                own = self._eager(small.to(dtype), layout)
            except Exception as error:  # noqa: BLE001
                yield f"fails in {name}: {_said(error)}"
                continue
            if own.dtype != dtype:
                yield f"returns {str(own.dtype).removeprefix('torch.')} for {name}"
            elif not torch.equal(own.double(), self._eager(small, layout).double()):
                yield f"gives other values in {name}"
        yield from self._threads(layout)
        yield from self._memory(layout, given, whole)

    def _threads(self, layout: Layout) -> Iterator[str]:
        before = torch.get_num_threads()
        given = numbered(*_LARGE)
        try:
            results = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                results.append(self._eager(given, layout))
        except Exception:  # noqa: BLE001  (what fails at this size fails at others, and is said there)
            return
        finally:
            torch.set_num_threads(before)
        if not torch.equal(*results):
            yield "its result depends on the number of threads (56x56x64)"

    def _memory(self, layout: Layout, given: Tensor, whole: Tensor) -> Iterator[str]:
        other = _other_memory(given, layout)
        try:
            with torch.no_grad():
                found = self._shift.call(other, layout, self._directions)
        except Exception as error:  # noqa: BLE001
            yield f"fails on a map that is permuted in memory: {_said(error)}"
            return
        if not torch.equal(found, whole):
            yield "gives other values for the same map permuted in memory"

    def _compiled(self, layout: Layout, shape: tuple[int, ...]) -> Iterator[str]:
        given = numbered(*shape)
        torch._dynamo.reset()
        function: Callable[[Tensor], Tensor] = torch.compile(
            lambda x: self._call(x, layout), backend="aot_eager"
        )
        try:
            with torch.no_grad():
                found = function(given)
        except Exception as error:  # noqa: BLE001
            yield f"cannot be compiled: {_said(error)}"
            return
        finally:
            torch._dynamo.reset()
        if not torch.equal(found, self._eager(given, layout)):
            yield "compiled it gives other values than eager"

    def _verdict(
        self,
        layout: Layout,
        also: Layout | None,
        found: dict[Layout, Decoded],
        smears: tuple[Smear, ...],
        random: bool,
        wanted: Layout | None,
    ) -> str:
        decoded = found[layout]
        if random:
            return "not a shift: two calls on the same map give different values"
        if smears:
            groups = _listed([str(smear.group) for smear in smears])
            few = len(smears) == 1
            wrong = sum(smear.wrong for smear in smears) / len(smears)
            height, width = _SHARES[1:3]
            return (
                f"not a shift: group{'' if few else 's'} {groups} smear{'s' if few else ''} "
                f"({wrong:.1%} of {'its' if few else 'their'} values wrong at {height}x{width} "
                f"on {layout}), because it reads what it has just written; compiled it gives other "
                f"values; clone first, and it is {_described(decoded)}"
            )
        if not decoded.whole:
            return self._unexplained(layout, decoded, wanted)
        if not decoded.moving:
            return _described(decoded)
        first = f"{_described(decoded)} on {layout}"
        if also is None:
            return first
        return f"{first}, or {_described(found[also])} on {also}; choose with --layout"

    def _unexplained(
        self,
        layout: Layout,
        decoded: Decoded,
        wanted: Layout | None,
    ) -> str:
        if wanted and decoded.crossing:
            for other in LAYOUTS:
                explained, _ = self._explanations((other,), _MAP)
                if other != wanted and other in explained and explained[other].whole:
                    return f"moves channels: written for {other}, called with {wanted}"
        if decoded.crossing > max(decoded.foreign, decoded.mixing):
            return f"not a shift: {decoded.crossing:.1%} of its values come from other channels"
        if decoded.mixing:
            return f"not a shift: {decoded.mixing:.1%} of its values come from other images"
        return (
            f"not a shift: on {layout}, {decoded.explained:.1%} of its values are moved ones, and "
            f"{decoded.foreign:.1%} are not values of its input at all"
        )


def _described(decoded: Decoded) -> str:
    """Describe a function that only moves whole channels."""
    moving = [move for move in decoded.moves if move.moves]
    if not moving:
        return "not a shift: the identity, nothing moves"
    directions = decoded.directions
    names = list(directions) if directions else [move.direction for move in decoded.moves]
    words = ", ".join(names)
    border = {
        "copied": "",
        "kept": " whose border keeps its own values",
        "zero": " with zeros at the border",
        "wrapped": " that wraps around at the border",
    }
    kinds = decoded.borders
    if directions:
        return f"a true shift: {words}"
    at = border[kinds[0]] if len(kinds) == 1 else " with different borders"
    if len(moving) == len(decoded.moves) and len({m.last - m.first for m in moving}) == 1:
        return f"a shift{at}: {words}"
    groups = ", ".join(
        f"{move.direction} (channels {move.first}-{move.last} of {_MAP[-1]})" for move in moving
    )
    rest = "" if len(moving) == len(decoded.moves) else "; the other channels stay"
    return f"a shift{at}: {groups}{rest}"


def _splits(decoded: Decoded) -> str | None:
    """Return the line for a spec's mixer, where it computes the same."""
    directions = decoded.directions
    return f"splits: [[{', '.join(directions)}]]" if directions else None


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _laid_out(x: Tensor, layout: Layout) -> Tensor:
    """Return a copy of B,H,W,C that is contiguous in ``layout``, as a view of B,H,W,C."""
    if layout != "B,C,H,W":
        return x.clone(memory_format=torch.contiguous_format)
    return x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


def _other_memory(x: Tensor, layout: Layout) -> Tensor:
    """Return a copy of the same values in the other memory format."""
    return _laid_out(x, "B,H,W,C" if layout == "B,C,H,W" else "B,C,H,W")


def _said(error: BaseException) -> str:
    """Return an error in one line of at most 160 characters."""
    if isinstance(error, UserCodeError):
        return str(error)
    lines = str(error).strip().splitlines()
    first = re.split(r"(?<=\w)[.:] ", lines[0], maxsplit=1)[0][:160] if lines else ""
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
