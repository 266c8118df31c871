"""How a foreign shift behaves beside its values: sizes, dtypes, memory, training, compilers.

It is always called on a copy; what it raises is a finding, in words.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from s2mlp_cli.cores import threads
from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.shifts.decode import ROUNDING, Decoded, decode, listed, numbered, percent, sources
from s2mlp_cli.shifts.foreign import ForeignShift
from s2mlp_cli.shifts.moves import Move, moved
from s2mlp_cli.shifts.types import Layout
from s2mlp_cli.user_code import described

Size = tuple[int, ...]

# Images, rows and columns on which a shift is read, until all its values are explained: first no
# two extents alike, then a square, even sides, sides of windows, a stage of a real model.
SIZES: tuple[Size, ...] = ((2, 11, 13), (2, 12, 12), (2, 10, 14), (2, 14, 28), (2, 56, 56))
# The map of the papers' first models, and one with over 32,768 values to each of four groups, where
# torch cuts a copy among threads.
PAPERS, LARGE = (1, 14, 14), (1, 56, 56)
# On these, too, it has to do the same.
_EDGES = ((2, 5, 7), (2, 6, 6), (2, 14, 14), (2, 1, 1), (2, 1, 7), (2, 7, 1), (2, 65, 9))
# The maps of random values, with which a shift has to deal in the end.
_RANDOM = ((2, 11, 13), (1, 14, 14), (3, 9, 15))
# Channels that do not divide by four, and those of a common width.
_ODD, _COMMON = 46, 128

# What a shift that takes directions is asked for, and then for something else.
ASKED: Directions = ("down", "up", "right", "left")
ASKED_THEN: Directions = ("left", "down")
DIAGONAL: Directions = ("down-right", "up-left")

# Relative to the largest value; more is another value, less is rounding.
_TOLERANCE = 1e-5

# Groups of which the order alone says nothing: channels take turns.
_MANY = 12

# The finding that a verdict quotes.
COMPILED = "compiled it gives other values than eager"

# What users' code raises; sys.exit is a finding, too.
_FAULTS = (Exception, SystemExit)


class Finding(NamedTuple):
    """Something that users trip over; ``fatal``: a function that does so is not a shift."""

    said: str
    fatal: bool = False


@dataclass(frozen=True, eq=False)
class Called:
    """A shift, the layout in which it is called, and where."""

    shift: ForeignShift
    layout: Layout
    device: torch.device

    def call(self, x: Tensor, directions: Directions = ASKED) -> Tensor:
        """Call it on ``x`` (B,H,W,C) itself, which is on its device."""
        return self.shift.call(x, self.layout, directions)

    def copy(self, x: Tensor) -> Tensor:
        """Return a copy of ``x`` (B,H,W,C) on its device that is contiguous in its layout."""
        return laid_out(x, self.layout).to(self.device)

    def copied(self, x: Tensor, directions: Directions = ASKED) -> Tensor:
        """Call it on a copy, and return the result on the CPU."""
        return self.call(self.copy(x), directions).cpu().clone()

    def eager(self, x: Tensor, directions: Directions = ASKED, keep: bool = False) -> Tensor | str:
        """Return its result on a copy of ``x``, or its error in words.

        ``keep`` keeps the memory format of ``x``; otherwise the copy is contiguous in its layout.
        """
        return self._tried(x.clone().to(self.device) if keep else self.copy(x), directions)

    def decode(self, given: Tensor, found: Tensor) -> Decoded:
        """Read the sources of ``found``; where they are not plain, see whether it smears."""
        decoded = decode(given, found)
        if decoded.whole:
            return decoded
        writes = _Writes()
        self._tried(self.copy(given), ASKED, writes)
        return decode(given, found, writes.read)

    def _tried(
        self, x: Tensor, directions: Directions, watch: TorchDispatchMode | None = None
    ) -> Tensor | str:
        try:
            with torch.no_grad():
                with watch or contextlib.nullcontext():
                    found = self.call(x, directions)
                return found.cpu().clone()
        except _FAULTS as error:
            return said(error)


class _Writes(TorchDispatchMode):
    """Watches for reads of what was written to a part of a tensor, in the same copy or before."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read = False
        self._written: set[_Extent] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        schema = function._schema
        given = [
            (each.alias_info, _extent(value))
            for each, value in zip(schema.arguments, args, strict=False)
            if isinstance(value, Tensor)
        ]
        self._written |= {extent for alias, extent in given if alias and alias.is_write}
        if not any(each.alias_info and not each.alias_info.is_write for each in schema.returns):
            read = [extent for alias, extent in given if not (alias and alias.is_write)]
            self.read |= any(_overlap(one, other) for one in read for other in self._written)
        return function(*args, **(kwargs or {}))


_Extent = tuple[int, int, int]


def _extent(x: Tensor) -> _Extent:
    """Return the storage of a tensor, and where in it its values begin and end."""
    last = sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True))
    first = int(x.storage_offset())
    return x.untyped_storage().data_ptr(), first, first + int(last) + 1


def _overlap(one: _Extent, other: _Extent) -> bool:
    return one[0] == other[0] and one[1] < other[2] and other[1] < one[2]


@dataclass(frozen=True, eq=False)
class Read(Called):
    """A shift whose moves were read.

    Attributes:
        decoded: the sources of its values, if nothing is overwritten before it is read.
        follows: whether it moves by the directions that it is given.
    """

    decoded: Decoded
    follows: bool = False

    def numbered(self, size: Size | None = None, channels: int | None = None) -> Tensor:
        """Return a numbered map, in size and channels like the one that was read."""
        shape = self.decoded.shape
        return numbered(size or shape[:3], channels or shape[-1])

    def moves(self, channels: int, directions: Directions = ASKED) -> tuple[Move, ...]:
        """Return its moves for a number of channels, where ``directions`` are asked.

        Raises:
            UserCodeError: with these channels it fails, or is not what it was.
        """
        if not self.follows:
            return self._at(channels).moves
        border = self.decoded.borders[0]
        return tuple(
            Move(group.start, group.stop - 1, dh, dw, border)
            for group, dh, dw in groups(channels, directions)
        )

    @functools.cache  # noqa: B019  # few widths, and as long as the shift is used
    def _at(self, channels: int) -> Decoded:
        """Read it again: how it cuts another number of channels into groups is its own affair."""
        if channels == self.decoded.shape[-1]:
            return self.decoded
        given = self.numbered(channels=channels)
        with contextlib.redirect_stdout(sys.stderr), self.shift.code.beside():
            found = self.eager(given)
            if isinstance(found, str):
                raise UserCodeError(f"fails with {channels} channels: {found}")
            other = self.decode(given, found)
        if not self.is_like(other):
            raise UserCodeError(f"with {channels} channels, {other.said}")
        return other

    @property
    def is_clean(self) -> bool:
        """Whether it was read to move all channels, and to overwrite none."""
        return self.decoded.whole and not self.decoded.smears

    def is_like(self, other: Decoded) -> bool:
        """Whether it moves as it was read to do, with other numbers of channels in a group."""
        one, two = self.decoded.order, other.order
        turns = min(len(one), len(two))
        many = turns > _MANY  # one channel after the other takes its turn
        return other.whole and (one == two or (many and one[:turns] == two[:turns]))

    def expected(self, x: Tensor, directions: Directions = ASKED) -> Tensor:
        return moved(x, self.moves(x.shape[-1], directions))


def behaviour(read: Read) -> Iterator[Finding]:
    """Yield what users trip over."""
    yield from _sizes(read)
    if not read.follows:
        yield from _widths(read)
    yield from _input(read)
    yield from _training(read)
    yield from _batch(read)
    if read.is_clean:  # before what narrower dtypes round off
        yield from _state(read)
        yield from _values(read)
    yield from _dtypes(read)
    yield from _threads(read)
    yield from _memory(read)
    yield from _compiled(read)


def compare_sizes(read: Read) -> tuple[dict[Size, str], dict[Size, str]]:
    """Return the sizes on which it fails, and those on which it is not what was read, with why."""
    failed: dict[Size, str] = {}
    differs: dict[Size, str] = {}
    for size in (*SIZES, *_EDGES):
        given = read.numbered(size)
        found = read.eager(given)
        if isinstance(found, str):
            failed[size] = found
        elif read.is_clean and not _moves_as(found, read.expected(given)):
            differs[size] = read.decode(given, found).said
    return failed, differs


def _sizes(read: Read) -> Iterator[Finding]:
    """Compare other sizes with the one that was read."""
    failed, differs = compare_sizes(read)
    if failed:
        yield Finding(f"fails on {_which(failed)}: {next(iter(failed.values()))}")
    if differs:
        (_, height, width), does = next(iter(differs.items()))
        rows, columns = read.decoded.shape[1:3]
        yield Finding(
            f"at {rows}x{columns} {read.decoded.said}, but it differs on {_which(differs)} "
            f"(at {height}x{width}: {does})",
            True,
        )


def _which(some: Collection[Size]) -> str:
    """Name some of the sizes."""
    if {*some} == {each for each in (*SIZES, *_EDGES) if each[1] != each[2]}:
        return "maps that are not square"
    return "maps of " + listed([f"{height}x{width}" for _, height, width in some])


def _widths(read: Read) -> Iterator[Finding]:
    """Compare other numbers of channels with the one that was read."""
    for channels in (_ODD, _COMMON):
        given = read.numbered(channels=channels)
        found = read.eager(given)
        if isinstance(found, str):
            yield Finding(f"fails with {channels} channels: {found}")
            return
        if read.decoded.whole:
            other, zeros = read.decode(given, found), int((found == 0).flatten(0, 2).all(0).sum())
            does = f"{zeros} of them become zero" if zeros else _cut(read, other)
            fatal = channels == _COMMON and not read.is_like(other)
            yield from [Finding(f"with {channels} channels, {does}", fatal)] * bool(does)


def _cut(read: Read, other: Decoded) -> str | None:
    """Say how another number of channels is cut into groups, if not as the first one."""
    if not read.is_like(other):
        return other.said
    kept = sum(move.size for move in other.moves if not move.moves)
    if kept and all(move.moves for move in read.decoded.moves):
        return f"{kept} of them stay where they are"
    sizes = ([m.size for m in each.moves if m.moves] for each in (read.decoded, other))
    before, now = (max(each, default=0) - min(each, default=0) for each in sizes)
    if not before and now > 1:
        return f"its groups have {listed([str(move.size) for move in other.moves])}"
    return None


def _values(read: Read) -> Iterator[Finding]:
    """Compare random values with what was read off large whole numbers, in two memory formats."""
    off = 0.0
    for size in dict.fromkeys((*_RANDOM, read.decoded.shape[:3])):
        x = normal((*size, read.decoded.shape[-1]))
        expected = read.expected(x)
        for layout in get_args(Layout)[:2]:
            found = read.eager(laid_out(x, layout), keep=True)
            if isinstance(found, str):
                continue  # a finding about sizes or memory
            wrong = (found - expected).abs().nan_to_num(math.inf)
            if not same(found, expected):
                share = float((wrong > _TOLERANCE).double().mean())
                yield Finding(
                    f"moves large whole numbers as {read.decoded.said}, but changes "
                    f"{percent(share)} of random normal values at {size[1]}x{size[2]}",
                    True,
                )
                return
            off = max(off, float((wrong / expected.abs().max()).max()))
    if off:
        yield Finding(f"its values are off by up to {off:.1g} of the largest one")


def normal(size: tuple[int, ...]) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


def _state(read: Read) -> Iterator[Finding]:
    """Call it again, after many calls, on what was read first."""
    found, given = read.eager(read.numbered()), read.numbered()
    if isinstance(found, str) or not _moves_as(found, read.expected(given)):
        yield Finding("its result depends on the calls before", True)


def _input(read: Read) -> Iterator[Finding]:
    given = read.numbered()
    x = read.copy(given)
    with torch.no_grad():
        found = read.call(x)
    if not torch.equal(x.cpu(), given):
        yield Finding("changes its input, so that x + f(x) is wrong; give it a copy")
    elif found.data_ptr() == x.data_ptr():
        yield Finding("returns a view of its input")


def _training(read: Read) -> Iterator[Finding]:
    """Compare autograd's gradient with that of the values which were found."""
    given = read.numbered()
    leaf = read.copy(given).requires_grad_()
    weights = torch.randn(given.shape, generator=torch.Generator().manual_seed(0)).to(leaf)
    gradient = None
    before: dict[str, Callable[[Tensor], Tensor]] = {
        "on a leaf that needs a gradient": lambda x: x,
        "after a ReLU in training": torch.relu,
        "after a sigmoid in training": torch.sigmoid,
        "in training": lambda x: x * 1,
    }
    for where, operator in before.items():
        gradient = None
        try:
            out = read.call(operator(leaf))
            if not out.requires_grad:
                yield Finding("has no gradient")
                return
            (gradient,) = torch.autograd.grad((out * weights).sum(), leaf)
        except _FAULTS as error:
            yield Finding(f"fails {where}: {said(error)}")
    if gradient is None or not read.decoded.whole:
        return
    if not same(out.detach().cpu(), read.eager(given)):
        yield Finding("gives other values in training", True)
    origin, own = sources(given, out.detach().cpu()), torch.zeros(given.numel())
    own.index_add_(0, origin[origin >= 0], weights.cpu()[origin >= 0])
    other = leaf.detach().clone().requires_grad_()
    (true,) = torch.autograd.grad((read.expected(other) * weights).sum(), other)
    if not torch.allclose(gradient.cpu(), own.view(given.shape), atol=1e-4):
        is_true = torch.allclose(gradient, true, atol=1e-4)
        of = "that of the true shift, not of" if is_true else "not that of"
        yield Finding(f"its gradient is {of} what it computes")


def _batch(read: Read) -> Iterator[Finding]:
    given = read.numbered()
    alone = [read.eager(image) for image in torch.split(given, 1)]
    whole = read.eager(torch.cat([given, given]))
    maps = [each for each in alone if isinstance(each, Tensor)]
    if isinstance(alone[0], str):
        yield Finding(f"fails on one image: {alone[0]}")
    if len(maps) == len(alone) and not same(whole, torch.cat([*maps, *maps])):
        yield Finding("an image's result depends on the images beside it", True)


def _dtypes(read: Read) -> Iterator[Finding]:
    given = read.numbered()
    small = (torch.arange(given.numel()) % 251 - 125).view(given.shape)
    expected = read.eager(small.float())
    differs, returned = [], dict[str, list[str]]()
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        own, name = read.eager(small.to(dtype)), str(dtype).removeprefix("torch.")
        if isinstance(own, str):
            yield Finding(f"fails in {name}: {own}")
        elif isinstance(expected, Tensor) and not same(own.double(), expected.double()):
            differs.append(name)
        elif own.dtype != dtype:
            returned.setdefault(str(own.dtype).removeprefix("torch."), []).append(name)
    if differs:
        yield Finding(f"gives other values in {listed(differs)}", True)
    yield from (Finding(f"returns {to} for {listed(names)}") for to, names in returned.items())


def _threads(read: Read) -> Iterator[Finding]:
    results = []
    for count in (1, 2):
        with threads(count):
            results.append(read.eager(read.numbered(LARGE)))
    if not same(*results):
        yield Finding("its result depends on the number of threads (56x56)", True)


def _memory(read: Read) -> Iterator[Finding]:
    given = read.numbered()
    other: Layout = "B,H,W,C" if read.layout == "B,C,H,W" else "B,C,H,W"
    found = read.eager(laid_out(given, other), keep=True)
    if isinstance(found, str):
        yield Finding(f"fails on a map that is permuted in memory: {found}")
    elif not same(found, read.eager(given)):
        yield Finding("gives other values for the same map permuted in memory", True)


def _compiled(read: Read) -> Iterator[Finding]:
    torch._dynamo.reset()
    function: Any = torch.compile(read.copied, backend="aot_eager")
    try:
        with torch.no_grad():
            found = function(read.numbered())
    except _FAULTS as error:
        yield Finding(f"cannot be compiled: {said(error)}")
    else:
        if not same(found, read.eager(read.numbered())):
            yield Finding(COMPILED, True)
    finally:
        torch._dynamo.reset()


def same(one: Tensor | str, other: Tensor | str) -> bool:
    """Tell whether two results are equal within rounding; a NaN equals a NaN, and so do errors."""
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str)
    one, other = one.double().nan_to_num(0.5), other.double().nan_to_num(0.5)
    return bool(((one - other).abs() <= _TOLERANCE * other.abs().max()).all())


def _moves_as(found: Tensor, expected: Tensor) -> bool:
    """Tell whether numbers of a map came to the same places; a small change is told by others."""
    return same(found, expected) or bool(((found - expected).abs() < ROUNDING).all())


def laid_out(x: Tensor, layout: Layout) -> Tensor:
    """Return a copy of B,H,W,C that is contiguous in ``layout``, as a view of B,H,W,C."""
    if layout != "B,C,H,W":
        return x.clone(memory_format=torch.contiguous_format)
    return x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


def said(error: BaseException) -> str:
    """Return an error in one line."""
    if isinstance(error, UserCodeError):
        return str(error)
    return "it ends the program (sys.exit)" if isinstance(error, SystemExit) else described(error)
