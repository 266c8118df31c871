"""A foreign shift among the implementations, checked against what it was found to be."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from s2mlp_cli.directions import Directions, offsets_of
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.records.source import ModelSource
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.behaviour import Read
from s2mlp_cli.shifts.decode import Decoded
from s2mlp_cli.shifts.foreign import ForeignShift, load_foreign
from s2mlp_cli.shifts.probe import Probe, probe
from s2mlp_cli.shifts.types import Implementation, Layout, ShiftFunction
from s2mlp_cli.user_code import imported_files, names_code, require_imported

# Its layout, the parameters that are filled in, and what moves.
Reading = tuple[Layout, Mapping[str, str], Decoded]
Travelling = tuple[ModelSource, Reading | None]


@dataclass(frozen=True)
class ForeignFunction(ShiftFunction):
    """A user's shift as an implementation.

    Attributes:
        source: its file, name and arguments: enough to open it again.
        shift: how it is called.
        found: what it computes.
    """

    source: ModelSource = field(kw_only=True)
    shift: ForeignShift = field(kw_only=True)
    found: Probe = field(kw_only=True)

    @property
    def travelling(self) -> Travelling:
        """What :func:`reopen_shift` takes in another process."""
        read = self.found.read
        return self.source, (read.layout, read.shift.takes, read.decoded) if read else None

    @property
    def reference(self) -> str:
        """The name of the implementation that it is checked against."""
        return f"{self.name}, as found"

    def misfit(self, splits: Iterable[Directions]) -> str | None:
        """Return why it cannot take the place of our shift in a mixer of ``splits``, or None."""
        read = self.found.read
        if read is None or not self.found.is_shift:
            return self.found.verdict
        if read.follows:
            return None
        moves = read.decoded.moves
        own = [(move.dh, move.dw) for move in moves for _ in range(move.size)]
        for split in filter(None, splits):
            if len(own) % len(split) or own != offsets_of(len(own), split):
                return (
                    f"always moves {', '.join(move.direction for move in moves)}, and the "
                    f"model moves {', '.join(split)}: see the level op"
                )
        return None


def open_shift(
    text: str, arguments: Mapping[str, Any] | None = None, device: torch.device | str = "cpu"
) -> ForeignFunction:
    """Load and probe a user's shift, and add it to the registry.

    Args:
        text: ``mine.py:my_shift``, as the user named it.
        arguments: of ``--set``.
        device: where it is probed.

    Raises:
        UserCodeError: it cannot be loaded, lacks an argument, or has weights.
    """
    shift = load_foreign(text, arguments)
    written = ", ".join(f"{key}={value}" for key, value in (arguments or {}).items())
    name = shift.code.name
    known = registry.added(f"{name}[{written}]" if written else name)
    if isinstance(known, ForeignFunction) and known.source.path != text:
        name = text  # a function of the same name in another file
    source = ModelSource(
        kind="python",
        name=f"{name}[{written}]" if written else name,
        path=text,
        arguments=dict(arguments or {}),
        sha256=shift.code.sha256,
        imports=imported_files(shift.code.path),
    )
    return _added(source, shift, probe(shift, device=device))


def find_shift(name: str, device: torch.device | str = "cpu") -> Implementation:
    """Return an implementation by name, or the user's own, ``mine.py:my_shift``, probed.

    Raises:
        UnavailableError: no such implementation.
        UserCodeError: the user's code cannot be loaded.
    """
    if names_code(name) and not registry.added(name):
        return open_shift(name, device=device)
    return registry.get(name)


def reopen_shift(
    source: ModelSource, read: Reading | None = None, device: str = "cpu"
) -> ForeignFunction:
    """Open a shift again, for an earlier record or in another process.

    Args:
        source: where it came from.
        read: how it was called, and what moved; None probes it again.
        device: where it is called.

    Raises:
        UserCodeError: its file is gone or has changed since.
    """
    shift = load_foreign(source.path or "", source.arguments, source.sha256)
    require_imported(shift.code.path, source.imports)
    if read is None:
        return _added(source, shift, probe(shift, device=device))
    layout, takes, decoded = read
    shift = replace(shift, takes=takes)
    return _added(source, shift, Probe("", Read(shift, layout, torch.device(device), decoded)))


def _added(source: ModelSource, shift: ForeignShift, found: Probe) -> ForeignFunction:
    def run(x: Tensor, directions: Directions) -> Tensor:
        if found.read is None:
            raise UnavailableError(f"the shift '{source.name}' {found.verdict}")
        return found.read.call(x, directions)

    function = ForeignFunction(
        source.name,
        f"{source.name}: {found.verdict}",
        run,
        safe=found.is_shift,
        source=source,
        shift=shift,
        found=found,
    )
    registry.add(function)
    registry.add(ShiftFunction(function.reference, "what it was found to be", found.reference))
    return function


def foreign(name: str | None) -> ForeignFunction | None:
    """Return the user's shift of that name, or None for one of ours."""
    found = registry.added(name or "")
    return found if isinstance(found, ForeignFunction) else None


@contextlib.contextmanager
def beside(names: Iterable[str | None]) -> Iterator[None]:
    """Call users' shifts inside this: they print to stderr, and find the files beside theirs."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        for function in filter(None, map(foreign, names)):
            stack.enter_context(function.shift.code.beside())
        yield
