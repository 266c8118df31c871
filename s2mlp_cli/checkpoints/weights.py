"""Finding the weights of one model in what training scripts save around them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from s2mlp_cli.checkpoints.names import TRANSPARENT, WRAPPERS, Naming, Place, place
from s2mlp_cli.checkpoints.state_dicts import (
    AVERAGED,
    HELPER,
    State,
    averages_in,
    keys_of,
    only_one,
    plain,
    state_dict_in,
    walk,
)
from s2mlp_cli.errors import CheckpointError

# Of torch's AveragedModel, whose weights are averages.
_COUNTS = ("n_averaged", "module.n_averaged", "_orig_mod.n_averaged")

# Where Lightning's WeightAveraging keeps the others: what it calls state_dict is averaged.
_RAW = "current_model_state"

# How averaging hooks flatten names: ema_blocks_0_weight, model_ema.blocks0weight.
_FLAT = re.compile(r"(?:.*\.)?(?:model_)?ema[._](.+)")


@dataclass(frozen=True)
class Weights:
    """The weights of one model.

    Attributes:
        state: under the model's own names, where they were understood.
        taken: in words, which part of the file they are.
        notes: in sentences, what was left out.
        naming: whose names the file has; None if they were not understood.
        left_out: the names of the other tensors.
    """

    state: State
    taken: str
    notes: tuple[str, ...]
    naming: Naming | None
    left_out: tuple[str, ...] = ()
    is_average: bool = False


def take_weights(
    content: Any,
    namings: Iterable[Naming] = (),
    averaged: bool = False,
    key: str | None = None,
) -> Weights:
    """Find the weights of one model inside ``content``.

    Args:
        content: what the file contains.
        namings: whose names they may be, the most likely first.
        averaged: take the averaged (EMA) weights.
        key: the key, or the prefix of names, under which they are.

    Raises:
        CheckpointError: there are no weights, no averaged ones, or those of several models.
    """
    content = plain(content)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"the checkpoint contains a {type(content).__name__}, not a state dict; save "
            "model.state_dict()"
        )
    path, tensors = state_dict_in(content, averaged, key)
    is_average = (
        any(map(AVERAGED.search, path))
        or any(name in _COUNTS for name in tensors)
        or (path == ("state_dict",) and _RAW in content)
    )
    wanted = averaged and not is_average
    found = _taken(tensors, *_understood(tensors, namings, wanted), wanted)
    if wanted and not found.is_average:
        raise _no_average(content)
    where = f"'{'.'.join(path)}'" if path else "the state dict itself"
    beside = ""
    if is_average and _RAW in content:
        beside = f"; these are averaged, the others are in '{_RAW}' (--weights {_RAW})"
    elif not is_average and not averaged:
        words = (word for name in found.left_out for word in name.split(".")[:-1])
        flat = ("ema" for name in found.left_out if _FLAT.fullmatch(name))
        others = [*map(".".join, averages_in(content)), *filter(AVERAGED.search, words), *flat]
        beside = f"; averaged ones are in '{others[0]}' (--ema)" if others else ""
    return replace(found, taken=where + found.taken + beside)


def _no_average(content: Mapping[Any, Any]) -> CheckpointError:
    for path, value in walk(content):
        is_list = isinstance(value, list | tuple) and len(value) > 0
        if is_list and AVERAGED.search(path[-1]) and isinstance(value[0], Tensor):
            return CheckpointError(
                f"the averaged weights in '{'.'.join(path)}' are a list of tensors without names; "
                "copy them into the model where it was trained, and save model.state_dict()"
            )
    return CheckpointError(
        f"the checkpoint has no averaged weights ({keys_of(content)}); leave out --ema"
    )


@dataclass(frozen=True)
class _Copy:
    """The tensors of one copy of a model: our name -> where it was found."""

    holder: tuple[str, ...]
    places: dict[str, Place]

    @property
    def is_average(self) -> bool:
        return any(map(AVERAGED.search, self.holder))

    @property
    def label(self) -> str:
        return ".".join(self.holder)


def _understood(
    tensors: State, namings: Iterable[Naming], averaged: bool
) -> tuple[Naming | None, _Copy, list[_Copy]]:
    """Return the first naming in which a model is complete, its copy to take, and the others."""
    nearest, most = None, _Copy((), {})
    for naming in namings:
        copies: dict[tuple[str, ...], _Copy] = {}
        for name in tensors:
            if (at := place(name, naming)) is not None:
                copies.setdefault(at.holder, _Copy(at.holder, {})).places.setdefault(at.ours, at)
        whole = [copy for copy in copies.values() if naming.complete(copy.places)]
        if whole:
            chosen = _chosen(whole, averaged)
            return naming, chosen, [copy for copy in whole if copy is not chosen]
        merged = _merged(list(copies.values()), averaged)
        if len(merged.places) > len(most.places):
            nearest, most = naming, merged
    if 2 * len(most.places) >= sum(not HELPER.fullmatch(name) for name in tensors):
        return nearest, most, []
    return None, _unnamed(tensors), []


def _chosen(whole: list[_Copy], averaged: bool) -> _Copy:
    """Return the copy to take: the plain one; the averaged one if that is asked for."""
    fitting = [copy for copy in whole if copy.is_average == averaged] or whole
    bare = [copy for copy in fitting if not copy.holder]
    if len(fitting) > 1 and not bare:
        only_one([copy.label for copy in fitting])
    return (bare or fitting)[0]


def _merged(copies: list[_Copy], averaged: bool) -> _Copy:
    """Return one copy of what is spread over several prefixes; the largest where they repeat."""
    usual = [copy for copy in copies if copy.is_average == averaged] or copies
    largest = max(usual, key=lambda copy: len(copy.places), default=_Copy((), {}))
    merged = {ours: at for copy in usual for ours, at in copy.places.items()}
    if len(usual) < 2 or len(merged) < sum(len(copy.places) for copy in usual):
        return largest
    return _Copy((), merged)


def _unnamed(tensors: State) -> _Copy:
    """Return tensors whose names nobody knows, without helpers and what all names begin with."""
    words = [name.split(".") for name in tensors if not HELPER.fullmatch(name)]
    shared = os.path.commonprefix([each[:-1] for each in words])  # noqa: RUF071
    prefix = tuple(itertools.takewhile(WRAPPERS.__contains__, shared))
    places = (Place(".".join(each), ".".join(each[len(prefix) :]), prefix) for each in words)
    return _Copy((), {at.ours: at for at in places})


def _taken(
    tensors: State, naming: Naming | None, copy: _Copy, others: list[_Copy], averaged: bool
) -> Weights:
    """Take one copy, and sort out what is beside it: other copies of the model among it.

    What is taken, in words, is only what was cut from the names.
    """
    state = {ours: tensors[at.name] for ours, at in copy.places.items()}
    names = {at.name for at in copy.places.values()}
    elsewhere = {at.name for each in others for at in each.places.values()}
    left_out = []
    for name in tensors:
        if name in elsewhere or (name not in names and _beside(name, copy.holder)):
            left_out.append(name)
        elif name not in names:
            state[name] = tensors[name]  # the model does not have it: told when they are compared
    flat = None
    if averaged and not copy.is_average:
        flat = _flat_average(tensors, copy, left_out)
        state |= flat or {}
    notes = _notes([name for name in left_out if name not in elsewhere])
    notes += tuple(
        f"the weights under '{each.label}' were left out; --weights {each.label} takes them"
        for each in others
        if not each.is_average
    )
    is_average = copy.is_average or flat is not None
    return Weights(state, _cut(copy), notes, naming, tuple(left_out), is_average)


def _beside(name: str, holder: tuple[str, ...]) -> bool:
    """Tell whether a tensor that the model does not have belongs to something else."""
    words = tuple(word for word in name.split(".") if word not in TRANSPARENT)
    outside = bool(holder) and words[: len(holder)] != holder
    return outside or bool(HELPER.fullmatch(name) or _FLAT.fullmatch(name))


def _flat_average(tensors: State, copy: _Copy, names: list[str]) -> State | None:
    """Return averages whose names lost their dots; None unless every weight has one."""
    flat = {_flat(match[1]): name for name in names if (match := _FLAT.fullmatch(name))}
    found = {}
    for ours, at in copy.places.items():
        own = ".".join(at.name.split(".")[len(at.prefix) :])
        average = flat.get(_flat(at.name)) or flat.get(_flat(own))
        if average is not None:
            found[ours] = tensors[average]
        elif tensors[at.name].is_floating_point() and not at.name.endswith(("_mean", "_var")):
            return None
    return found


def _flat(name: str) -> str:
    return re.sub(r"[._]", "", name)


def _cut(copy: _Copy) -> str:
    """Say which prefix, and which words inside names, were taken out."""
    places = copy.places.values()
    prefixes = sorted({"".join(f"{word}." for word in at.prefix) for at in places} - {""})
    inside = sorted({f"{word}." for at in places for word in at.inside})
    text = ""
    if prefixes:
        noun = "prefix" if len(prefixes) == 1 else "prefixes"
        text = f", without the {noun} {_quoted(prefixes)}"
    return f"{text}, without {_quoted(inside)} inside names" if inside else text


def _quoted(words: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words[:4]) + (", …" if len(words) > 4 else "")


def _notes(left_out: list[str]) -> tuple[str, ...]:
    """Say what was not taken, but flat averages, which are told elsewhere."""
    rest = [name for name in left_out if not _FLAT.fullmatch(name)]
    if not rest:
        return ()
    what = "1 tensor that is" if len(rest) == 1 else f"{len(rest)} tensors that are"
    return (f"left out {what} not part of the model (first '{rest[0]}')",)
