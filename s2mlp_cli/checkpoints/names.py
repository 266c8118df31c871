"""Names of tensors: which model they belong to, and what wrappers and third parties made of them.

Training code puts words into names: ``module.`` (data parallel), ``_orig_mod.`` (compile),
``_checkpoint_wrapped_module.`` inside a block, ``student.`` in front of everything. A naming looks
through such words wherever they are and returns the name that the model gives its tensor.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

# Words of wrappers, which say nothing about what the weights are.
TRANSPARENT = frozenset(
    {
        "module", "_module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_fpw_module",
        "_checkpoint_wrapped_module",
    }
)  # fmt: skip

# Attributes under which training code keeps a model.
HOLDERS = frozenset({"model", "net", "network", "backbone", "student", "teacher"})

WRAPPERS = TRANSPARENT | HOLDERS

_DOWN_FIRST = ("down", "up", "right", "left")
_RIGHT_FIRST = ("right", "left", "down", "up")


class Naming(Protocol):
    """The names of one model, or of all models that somebody's code builds."""

    @property
    def name(self) -> str:
        """What it is called."""

    def find(self, words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
        """Look a name up, wrappers' words left out.

        Args:
            words: the name, split at its dots.

        Returns:
            The model's own name of that tensor, and the words of the given name that belong to
            it; None if there is no such tensor.
        """

    def complete(self, found: Collection[str]) -> bool:
        """Tell whether these names are all that the model needs."""


@dataclass(frozen=True)
class Grammar:
    """The names that some code gives to every S2-MLP, as patterns.

    Attributes:
        name: as it is printed.
        names: (pattern of a name without wrappers' words, our name for it).
        splits: number of splits -> their directions, which no tensor contains.
        norm: kind and place, which tensors do not contain either.
    """

    name: str
    names: tuple[tuple[str, str], ...]
    splits: Mapping[int, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    norm: Mapping[str, Any] | None = None

    def find(self, words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
        own = [word for word in words if word not in WRAPPERS]
        for pattern, ours in self.names:
            if match := re.fullmatch(pattern, ".".join(own), re.ASCII):
                return match.expand(ours), own
        return None

    def complete(self, found: Collection[str]) -> bool:
        return _SIGNATURE.issubset(found)


# What the architecture is read off.
_SIGNATURE = {
    "stages.0.patch.proj.weight",
    "stages.0.blocks.0.mixer.expand.weight",
    "head.weight",
}

_BLOCK = r"stages\.(\d{1,4})\.1\.(\d{1,4})\."
_OURS = r"stages.\1.blocks.\2."
_PARAMETER = r"\.(weight|bias)"

OURS = Grammar(
    "s2mlp",
    names=(
        (r"(stages\.\d{1,4}\.patch\.(proj|norm)|norm|head)" + _PARAMETER, r"\g<0>"),
        (
            r"stages\.\d{1,4}\.blocks\.\d{1,4}\.(norm[12]|mlp\.fc[12]|"
            r"mixer\.(expand|project|attention\.(reduce|expand)))" + _PARAMETER,
            r"\g<0>",
        ),
    ),
)

JITTOR = Grammar(
    "Jittor-MLP",
    names=(
        (r"stages\.(\d{1,4})\.0" + _PARAMETER, r"stages.\1.patch.proj.\2"),
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

GRAMMARS = (OURS, JITTOR)


class Expected:
    """The names of models that are known: one, or several to choose from.

    Args:
        name: as it is printed.
        models: the names of the tensors of each.
        grammar: whose names are to be translated before they are looked up; None for the models'
            own.
    """

    def __init__(
        self, name: str, models: Sequence[Collection[str]], grammar: Grammar | None = None
    ) -> None:
        self.name, self._grammar = name, grammar
        self._models = [frozenset(model) for model in models]
        self._names = frozenset().union(*self._models)

    @functools.cached_property
    def _bare(self) -> dict[tuple[str, ...], str | None]:
        """Names without wrappers' words -> names; None where two become the same."""
        found: dict[tuple[str, ...], str | None] = {}
        for name in self._names:
            bare = _without(name.split("."), WRAPPERS)
            found[bare] = None if bare in found else name
        return found

    def find(self, words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
        if self._grammar is not None:
            found = self._grammar.find(words)
            return found if found and found[0] in self._names else None
        for own in (tuple(words), _without(words, TRANSPARENT)):
            if ".".join(own) in self._names:
                return ".".join(own), own
        bare = _without(words, WRAPPERS)
        name = self._bare.get(bare)
        return (name, bare) if name else None

    def complete(self, found: Collection[str]) -> bool:
        return any(model.issubset(found) for model in self._models)


@dataclass(frozen=True)
class Place:
    """A tensor that belongs to a model.

    Attributes:
        name: what the file calls it.
        ours: the model's own name.
        prefix: the words in front of it.
        inside: the wrappers' words further on.
    """

    name: str
    ours: str
    prefix: tuple[str, ...]
    inside: tuple[str, ...] = ()

    @property
    def holder(self) -> tuple[str, ...]:
        """The words in front that tell one copy of the model from another."""
        return _without(self.prefix, TRANSPARENT)


def place(name: str, naming: Naming) -> Place | None:
    """Find a tensor's name in ``naming``, behind any prefix; None if it is not there."""
    words = name.split(".")
    for start in range(len(words)):
        if found := naming.find(words[start:]):
            ours, own = found
            left, inside, at = list(own), [], len(words)
            while left and at:  # from the end on: its own words, and others between them
                at -= 1
                if words[at] == left[-1]:
                    left.pop()
                else:
                    inside.append(words[at])
            return Place(name, ours, tuple(words[:at]), tuple(reversed(inside)))
    return None


def _without(words: Sequence[str], left_out: frozenset[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in left_out)
