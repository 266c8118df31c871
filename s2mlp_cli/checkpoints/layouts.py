"""Whose names the tensors bear, and how third-party names translate into this project's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from s2mlp_cli.checkpoints.wrappers import State

_DOWN_FIRST = ("down", "up", "right", "left")
_RIGHT_FIRST = ("right", "left", "down", "up")


@dataclass(frozen=True)
class Layout:
    """A naming of tensors.

    Attributes:
        name: as it is printed.
        marks: a pattern that some name of this layout matches, and of no other.
        names: (pattern of a whole name, its replacement), in order; empty for our own.
        splits: number of splits -> their directions, which no tensor tells.
        norm: kind and place, which tensors do not tell either.
    """

    name: str
    marks: str
    names: tuple[tuple[str, str], ...] = ()
    splits: Mapping[int, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    norm: Mapping[str, Any] | None = None

    def rename(self, state: State) -> State:
        """Return ``state`` in this project's naming; names that no pattern knows stay."""
        return {self._rename(name): tensor for name, tensor in state.items()}

    def _rename(self, name: str) -> str:
        for pattern, replacement in self.names:
            if re.fullmatch(pattern, name):
                return re.sub(pattern, replacement, name)
        return name


_BLOCK = r"stages\.(\d+)\.1\.model\.(\d+)\."
_OURS = r"stages.\1.blocks.\2."
_PARAMETER = r"\.(weight|bias)"

JITTOR = Layout(
    "Jittor-MLP",
    marks=r"stages\.\d+\.1\.model\.\d+\.0\.fn\..*",
    names=(
        (r"stages\.(\d+)\.0" + _PARAMETER, r"stages.\1.patch.proj.\2"),
        (_BLOCK + r"0\.norm" + _PARAMETER, _OURS + r"norm1.\3"),
        (_BLOCK + r"1\.norm" + _PARAMETER, _OURS + r"norm2.\3"),
        (_BLOCK + r"0\.fn\.(?:mlp1|0)" + _PARAMETER, _OURS + r"mixer.expand.\3"),
        (_BLOCK + r"0\.fn\.(?:mlp2|3)" + _PARAMETER, _OURS + r"mixer.project.\3"),
        (_BLOCK + r"0\.fn\.split_attention\.mlp1" + _PARAMETER,
         _OURS + r"mixer.attention.reduce.\3"),
        (_BLOCK + r"0\.fn\.split_attention\.mlp2" + _PARAMETER,
         _OURS + r"mixer.attention.expand.\3"),
        (_BLOCK + r"1\.fn\.0" + _PARAMETER, _OURS + r"mlp.fc1.\3"),
        (_BLOCK + r"1\.fn\.3" + _PARAMETER, _OURS + r"mlp.fc2.\3"),
        (r"mlp_head\.1" + _PARAMETER, r"head.\1"),
    ),
    splits={1: (_DOWN_FIRST,), 3: (_DOWN_FIRST, _RIGHT_FIRST, ())},
    norm={"kind": "layer", "place": "pre"},
)  # fmt: skip

OURS = Layout("s2mlp", marks=r"stages\.\d+\.blocks\.\d+\.mixer\.expand\..*")

LAYOUTS = (OURS, JITTOR)


def recognise(state: State) -> Layout | None:
    """Return the layout whose marks one of the names bears, or None."""
    return next(
        (layout for layout in LAYOUTS if any(re.fullmatch(layout.marks, name) for name in state)),
        None,
    )
