"""Finding the mapping of tensors in what training scripts save around it."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2mlp_cli.checkpoints.names import TRANSPARENT
from s2mlp_cli.errors import CheckpointError

State = dict[str, Tensor]

# Keys that lead to weights, the first that is there goes first.
_KEYS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network")

# Keys that lead to tensors other than weights.
_NOT_WEIGHTS = re.compile(
    r"(?:^|[._])(?:optim\w*|opt|lr|\w*sched\w*|\w*scaler|amp|rng|random|callbacks|loops|criterion|"
    r"loss\w*|metrics?|hparams|hyper)(?:[._]|$)",
    re.IGNORECASE,
)

# Of keys and prefixes that lead to averaged weights.
AVERAGED = re.compile(
    r"(?:^|[._])(?:ema|swa|avg|averaged?|averages|teacher|shadow|polyak)\d*(?:[._]|$)",
    re.IGNORECASE,
)

# What profilers, losses and averaging helpers leave beside the weights.
HELPER = re.compile(
    r"(?:.*\.)?(?:total_ops|total_params|n_averaged|num_updates|decay|steps?)"
    r"|(?:.*[._])?(?:criterion|criteria|loss|losses|loss_fn|loss_func|metrics?|acc|accuracy)[._].*"
)

# Characters of a tensor's name, and keys above those that lead to weights.
_LONGEST = 300
_DEEPEST = 8


def plain(content: Any) -> Any:
    """Return a checkpoint with arrays as tensors, and lists of mappings as mappings by number."""
    copies: dict[int, dict[Any, Any]] = {}
    waiting: list[tuple[Mapping[Any, Any], dict[Any, Any]]] = []

    def of(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
        items = value
        if isinstance(value, list | tuple) and value and all(isinstance(e, Mapping) for e in value):
            items = {str(number): each for number, each in enumerate(value)}
        if not isinstance(items, Mapping):
            return value
        if id(value) not in copies:
            copies[id(value)] = {}
            waiting.append((items, copies[id(value)]))
        return copies[id(value)]

    whole = of(content)
    while waiting:
        items, copy = waiting.pop()
        copy.update({key: of(item) for key, item in items.items()})
    return whole


def walk(content: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (keys that lead there, value) of what is in a mapping, the shallowest first."""
    entered = {id(content)}
    waiting: deque[tuple[tuple[str, ...], Mapping[Any, Any]]] = deque([((), content)])
    while waiting:
        above, mapping = waiting.popleft()
        for key, value in mapping.items():
            if not isinstance(key, str):
                continue
            yield (*above, key), value
            if isinstance(value, Mapping) and id(value) not in entered and len(above) < _DEEPEST:
                entered.add(id(value))
                waiting.append(((*above, key), value))


def averages_in(content: Mapping[Any, Any]) -> list[tuple[str, ...]]:
    """Return the keys that lead to averaged weights, the shallowest first."""
    return [
        path
        for path, value in walk(content)
        if AVERAGED.search(path[-1]) and has_tensors(value) and "optim" not in str(path).lower()
    ]


def state_dict_in(
    content: Mapping[Any, Any], averaged: bool, key: str | None
) -> tuple[tuple[str, ...], State]:
    """Follow keys down to a mapping of tensors; a mapping inside itself is entered once."""
    path, inner = _chosen(content, key) if key is not None else ((), content)
    prefix = None if path else key
    if averaged:
        below, inner = _only(inner, averages_in(inner))
        path += below
    entered = {id(content), id(inner)}
    while (step := _step(inner, entered, prefix)) is not None:
        path, inner = (*path, step), inner[step]
        entered.add(id(inner))
    tensors = {_name(name): each for name, each in inner.items() if isinstance(each, Tensor)}
    if prefix is not None:
        path, tensors = (*path, prefix), _under(tensors, prefix, content)
    if not any(not HELPER.fullmatch(name) for name in tensors):
        raise CheckpointError(
            f"the checkpoint has no weights ({keys_of(inner)}); save model.state_dict()"
        )
    return path, tensors


def _chosen(content: Mapping[Any, Any], key: str) -> tuple[tuple[str, ...], Mapping[Any, Any]]:
    """Return the mapping under a key, or under its words one after the other, at any depth."""
    ends = f".{key}"
    paths = (path for path, value in walk(content) if has_tensors(value))
    return _only(content, [path for path in paths if f".{'.'.join(path)}".endswith(ends)])


def _only(
    content: Mapping[Any, Any], paths: list[tuple[str, ...]]
) -> tuple[tuple[str, ...], Mapping[Any, Any]]:
    """Return the one of the shallowest paths, and what is there; all of it if there is none."""
    if not paths:
        return (), content
    nearest = {".".join(path): path for path in paths if len(path) == len(paths[0])}
    path = nearest[only_one(list(nearest))]
    inner: Any = content
    for word in path:
        inner = inner[word]
    return path, inner


def _step(content: Mapping[Any, Any], entered: Collection[int], chosen: str | None) -> str | None:
    """Return the key to follow from here, or None where the tensors themselves are.

    Args:
        content: the mapping.
        entered: mappings that were followed before.
        chosen: what the user chose, if it is still to be found.

    Raises:
        CheckpointError: several may lead to the weights.
    """
    leading = [
        key
        for key, value in content.items()
        if isinstance(key, str) and id(value) not in entered and has_tensors(value)
    ]
    known = [key for key in _KEYS if key in leading]
    if known:
        return known[0]
    numbers = {name: each for name, each in content.items() if isinstance(each, Tensor)}
    if any(
        each.is_floating_point() and each.dim() and not _NOT_WEIGHTS.search(str(name))
        for name, each in numbers.items()
    ):
        return None
    averages = [key for key in leading if AVERAGED.search(key)]
    others = [key for key in leading if key not in averages and not _NOT_WEIGHTS.search(key)]
    candidates = others or averages
    return only_one(candidates, chosen) if candidates else None


def only_one(keys: list[str], chosen: str | None = None) -> str:
    """Return the only key.

    Raises:
        CheckpointError: there are several, and the user chose none or what is not there.
    """
    if len(keys) == 1:
        return keys[0]
    listed = ", ".join(_shown(key) for key in keys[:12])
    if chosen is not None:
        raise CheckpointError(
            f"the checkpoint has no weights under '{chosen[:40]}'; choose --weights from {listed}"
        )
    raise CheckpointError(
        f"the checkpoint has weights under {len(keys)} keys ({listed}); choose one, such as "
        f"--weights {_shown(keys[0])}"
    )


def has_tensors(value: Any) -> bool:
    """Tell whether named tensors are in ``value`` or in a mapping inside it."""
    if not isinstance(value, Mapping):
        return False
    seen, waiting = {id(value)}, [value]
    while waiting:
        for key, item in waiting.pop().items():
            if isinstance(key, str) and isinstance(item, Tensor):
                return True
            if isinstance(key, str) and isinstance(item, Mapping) and id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)
    return False


def _under(tensors: State, key: str, content: Mapping[Any, Any]) -> State:
    """Return the tensors whose names begin with the words of ``key``, without them."""
    prefix = key.split(".")
    found = {}
    for name, tensor in tensors.items():
        for words in (name.split("."), [w for w in name.split(".") if w not in TRANSPARENT]):
            if words[: len(prefix)] == prefix and len(words) > len(prefix):
                found[".".join(words[len(prefix) :])] = tensor
    if not found:
        raise CheckpointError(
            f"the checkpoint has no weights under '{key[:40]}' ({keys_of(content)}); choose "
            "another --weights, or leave it out"
        )
    return found


def _name(name: Any) -> str:
    """Return the name of a tensor, which messages and files can carry."""
    if not isinstance(name, str) or not name.isprintable() or len(name) > _LONGEST:
        raise CheckpointError(
            f"the checkpoint has a tensor named '{_shown(name)}', which is not a name that models "
            "give; save model.state_dict()"
        )
    return name


def _shown(key: Any) -> str:
    """Return a key of any kind as a message can carry it: a number may have a million digits."""
    text = key[:40] if isinstance(key, str) else f"a key of type {type(key).__name__}"
    return ascii(text)[1:-1]


def keys_of(content: Mapping[Any, Any]) -> str:
    """Return the keys of a mapping in words."""
    shown = [_shown(key) for key in itertools.islice(content, 6)]
    more = ", …" if len(content) > len(shown) else ""
    return f"its keys: {', '.join(shown)}{more}" if shown else "it is empty"
