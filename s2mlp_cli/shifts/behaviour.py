"""How a foreign shift behaves beside its values: sizes, dtypes, memory, training, compilers.

It is always called on a copy; what it raises is a finding, in words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from s2mlp_cli.cores import threads
from s2mlp_cli.directions import Directions, groups
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.shifts.decode import Decoded, Move, decode, listed, moved, numbered, scaled
from s2mlp_cli.shifts.foreign import ForeignShift
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
_EDGES = ((2, 5, 7), (2, 6, 6), (2, 14, 14), (2, 1, 1), (2, 1, 7), (2, 7, 1))
# Channels that do not divide by four.
_ODD = 46

# What a shift that takes directions is asked for, and then for something else.
ASKED: Directions = ("down", "up", "right", "left")
ASKED_THEN: Directions = ("left", "down")

# Relative to the largest value; more is another value, less is rounding.
_TOLERANCE = 1e-5

# What users' code raises; sys.exit is a finding, too.
_FAULTS = (Exception, SystemExit)


class Finding(NamedTuple):
    """Something that users trip over; ``fatal``: a function that does so is not a shift."""

    said: str
    fatal: bool = False


@dataclass(frozen=True)
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

    def eager(self, x: Tensor, directions: Directions = ASKED) -> Tensor | str:
        """Return its result on a copy of ``x``, or its error in words."""
        try:
            with torch.no_grad():
                return self.copied(x, directions)
        except _FAULTS as error:
            return said(error)

    def pure(self, x: Tensor) -> Tensor | str:
        """Return what it would be if nothing were overwritten before it is read."""
        with _Copies() as copies:  # type: ignore[no-untyped-call]
            found = self.eager(x)
        if copies.overlap:
            with torch.no_grad(), contextlib.suppress(*_FAULTS):
                pure: Tensor = torch.func.functionalize(self.copied)(x)
                return pure.clone()
        return found


class _Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches for copies between overlapping parts of one tensor."""

    overlap = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.ops.aten.copy_.default:
            (to, low, high), (source, least, most) = map(_extent, args[:2])
            self.overlap |= to == source and low < most and least < high
        return function(*args, **(kwargs or {}))


def _extent(x: Tensor) -> tuple[int, int, int]:
    """Return the storage of a tensor, and where in it its values begin and end."""
    last = sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True))
    first = int(x.storage_offset())
    return x.untyped_storage().data_ptr(), first, first + int(last) + 1


@dataclass(frozen=True)
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
        """Return its moves for a number of channels, where ``directions`` are asked."""
        if not self.follows:
            return scaled(self.decoded.moves, self.decoded.shape[-1], channels)
        border = self.decoded.borders[0]
        return tuple(
            Move(group.start, group.stop - 1, dh, dw, border)
            for group, dh, dw in groups(channels, directions)
        )

    def expected(self, x: Tensor, directions: Directions = ASKED) -> Tensor:
        return moved(x, self.moves(x.shape[-1], directions))


def behaviour(read: Read, smears: bool) -> Iterator[Finding]:
    """Yield what users trip over; ``smears``: it overwrites what it still has to read."""
    yield from _sizes(read)
    yield from _odd_channels(read)
    yield from _rounding(read)
    yield from _input(read)
    yield from _training(read, smears)
    yield from _batch_and_dtypes(read)
    yield from _threads(read)
    yield from _memory(read)
    yield from _compiled(read)


def _sizes(read: Read) -> Iterator[Finding]:
    """Compare other sizes with the one that was read."""
    sizes = tuple(dict.fromkeys((*SIZES, *_EDGES)))
    failed: dict[Size, str] = {}
    differs: dict[Size, str] = {}
    for size in sizes:
        given = read.numbered(size)
        found = read.pure(given)
        if isinstance(found, str):
            failed[size] = found
        elif read.decoded.whole and not same(found, read.expected(given)):
            differs[size] = decode(given, found).said
    if failed:
        yield Finding(f"fails on {_which(failed, sizes)}: {next(iter(failed.values()))}")
    if differs:
        (_, height, width), does = next(iter(differs.items()))
        rows, columns = read.decoded.shape[1:3]
        yield Finding(
            f"at {rows}x{columns} {read.decoded.said}, but it differs on {_which(differs, sizes)} "
            f"(at {height}x{width}: {does})",
            True,
        )


def _which(some: Collection[Size], sizes: Collection[Size]) -> str:
    """Name some of the sizes."""
    if {*some} == {each for each in sizes if each[1] != each[2]}:
        return "maps that are not square"
    return "maps of " + listed([f"{height}x{width}" for _, height, width in some])


def _odd_channels(read: Read) -> Iterator[Finding]:
    if read.follows:
        return
    given = read.numbered(channels=_ODD)
    found = read.pure(given)
    if isinstance(found, str):
        yield Finding(f"fails with {_ODD} channels: {found}")
    elif read.decoded.whole and not same(found, read.expected(given)):
        other = decode(given, found)
        zeros = int((found == 0).flatten(0, 2).all(0).sum())
        kept = sum(move.size for move in other.moves if not move.moves)
        sizes = {move.size for move in read.decoded.moves if move.moves}
        does = f"{1 - other.explained:.1%} of the values are not moved ones"
        if zeros:
            does = f"{zeros} of them become zero"
        elif other.whole and kept and all(move.moves for move in read.decoded.moves):
            does = f"{kept} of them stay where they are"
        elif other.whole and (len(sizes) > 1 or len({m.size for m in other.moves if m.moves}) == 1):
            return  # the moving groups were unequal before, or are equal now
        elif other.whole:
            does = f"its groups have {listed([str(move.size) for move in other.moves])}"
        yield Finding(f"with {_ODD} channels, {does}")


def _rounding(read: Read) -> Iterator[Finding]:
    given = read.numbered()
    found = read.eager(given)
    if isinstance(found, Tensor) and read.decoded.whole:
        off = float((found - read.expected(given)).abs().max() / given.abs().max())
        if 0 < off <= _TOLERANCE:
            yield Finding(f"its values are off by up to {off:.1g} of the largest one")


def _input(read: Read) -> Iterator[Finding]:
    given = read.numbered()
    x = read.copy(given)
    with torch.no_grad():
        found = read.call(x)
    if not torch.equal(x.cpu(), given):
        yield Finding("changes its input, so that x + f(x) is wrong; give it a copy")
    elif found.data_ptr() == x.data_ptr():
        yield Finding("returns a view of its input")


def _training(read: Read, smears: bool) -> Iterator[Finding]:
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
    if gradient is not None and read.decoded.whole:
        other = leaf.detach().clone().requires_grad_()
        (true,) = torch.autograd.grad((read.expected(other) * weights).sum(), other)
        if smears:
            yield Finding("its gradient is that of the true shift, not of what it computes")
        elif not torch.allclose(gradient, true, atol=1e-4):
            yield Finding("its gradient is not that of what it computes")


def _batch_and_dtypes(read: Read) -> Iterator[Finding]:
    given = read.numbered()
    alone = [read.eager(image) for image in torch.split(given, 1)]
    whole = read.eager(torch.cat([given, given]))
    maps = [each for each in alone if isinstance(each, Tensor)]
    yield from (
        Finding(f"fails on one image: {each}") for each in alone[:1] if isinstance(each, str)
    )
    if len(maps) == len(alone) and not same(whole, torch.cat([*maps, *maps])):
        yield Finding("an image's result depends on the images beside it", True)
    small = (torch.arange(given[:1].numel()) % 251 - 125).view(given[:1].shape)
    expected = read.eager(small.float())
    differs = []
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        own, name = read.eager(small.to(dtype)), str(dtype).removeprefix("torch.")
        if isinstance(own, str):
            yield Finding(f"fails in {name}: {own}")
        elif isinstance(expected, Tensor) and not same(own.double(), expected.double()):
            differs.append(name)
        elif own.dtype != dtype:
            yield Finding(f"returns {str(own.dtype).removeprefix('torch.')} for {name}")
    if differs:
        yield Finding(f"gives other values in {listed(differs)}", True)


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
    try:
        with torch.no_grad():
            found = read.call(laid_out(given, other).to(read.device)).cpu()
    except _FAULTS as error:
        yield Finding(f"fails on a map that is permuted in memory: {said(error)}")
        return
    if not same(found, read.eager(given)):
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
            yield Finding("compiled it gives other values than eager", True)
    finally:
        torch._dynamo.reset()


def same(one: Tensor | str, other: Tensor | str) -> bool:
    """Tell whether two results are equal within rounding; a NaN equals a NaN, and so do errors."""
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str)
    one, other = one.double().nan_to_num(0.5), other.double().nan_to_num(0.5)
    return bool(((one - other).abs() <= _TOLERANCE * other.abs().max()).all())


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
