"""Finding the mapping of tensors in what training scripts save around it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

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

# Characters of a tensor's name.
_LONGEST = 300


def state_dict_in(content: Any, averaged: bool, key: str | None) -> tuple[tuple[str, ...], State]:
    """Follow keys down to a mapping of tensors; a mapping that holds itself is entered once."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"the checkpoint contains a {type(content).__name__}, not a state dict; save "
            "model.state_dict()"
        )
    path, inner = _descend(content, averaged, key)
    tensors = {_name(name): each for name, each in inner.items() if isinstance(each, Tensor)}
    if key is not None and key not in path:
        path, tensors = [*path, key], _under(tensors, key, content)
    if not any(not HELPER.fullmatch(name) for name in tensors):
        raise CheckpointError(
            f"the checkpoint has no weights ({keys_of(inner)}); save model.state_dict()"
        )
    return tuple(path), tensors


def _descend(
    content: Mapping[Any, Any], averaged: bool, key: str | None
) -> tuple[list[str], Mapping[Any, Any]]:
    path: list[str] = []
    entered = {id(content)}
    while True:
        if key is not None and key not in path and (chosen := _at(content, key)) is not None:
            step, inner = key, chosen
        elif (known := _step(content, averaged, entered, key)) is not None:
            step, inner = known, content[known]
        else:
            return path, content
        path.append(step)
        entered.add(id(inner))
        content = inner


def _step(
    content: Mapping[Any, Any], averaged: bool, entered: Collection[int], key: str | None
) -> str | None:
    """Return the key to follow from here, or None where the tensors themselves are.

    Args:
        content: the mapping.
        averaged: whether averaged weights are looked for.
        entered: mappings that were followed before.
        key: what the user chose, if it is still to be found.

    Raises:
        CheckpointError: several may lead to the weights.
    """
    leading = [
        key
        for key, value in content.items()
        if isinstance(key, str) and id(value) not in entered and has_tensors(value)
    ]
    known = [key for key in _KEYS if key in leading]
    averages = [key for key in leading if AVERAGED.search(key)]
    if averaged and averages:
        return only_one(averages, key)
    if known:
        return known[0]
    if any(_is_weight(name, value) for name, value in content.items()):
        return None
    others = [key for key in leading if key not in averages and not _NOT_WEIGHTS.search(key)]
    candidates = others or averages
    return only_one(candidates, key) if candidates else None


def _is_weight(name: Any, value: Any) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.dim():
        return False
    return not (isinstance(name, str) and _NOT_WEIGHTS.search(name))


def only_one(keys: list[str], chosen: str | None = None) -> str:
    if len(keys) > 1 and chosen is not None:
        listed = ", ".join(ascii(_key(key))[1:-1] for key in keys[:12])
        raise CheckpointError(
            f"the checkpoint has no weights under '{chosen[:40]}'; choose --weights from {listed}"
        )
    if len(keys) > 1:
        listed = ", ".join(ascii(_key(key))[1:-1] for key in keys[:12])
        raise CheckpointError(
            f"the checkpoint has weights under {len(keys)} keys ({listed}); choose one, such as "
            f"--weights {ascii(_key(keys[0]))[1:-1]}"
        )
    return keys[0]


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


def _at(content: Mapping[Any, Any], key: str) -> Mapping[Any, Any] | None:
    """Return the mapping under ``key``, or under its words one after the other."""
    if has_tensors(content.get(key)):
        found: Mapping[Any, Any] = content[key]
        return found
    inner: Any = content
    for word in key.split("."):
        inner = inner.get(word) if isinstance(inner, Mapping) else None
    return inner if has_tensors(inner) else None


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
            f"the checkpoint has a tensor named {_key(name)!a}, which is not a name that models "
            "give; save model.state_dict()"
        )
    return name


def _key(key: Any) -> str:
    """Return a key of any kind as a message can carry it: a number may have a million digits."""
    return key[:40] if isinstance(key, str) else f"a key of type {type(key).__name__}"


def keys_of(content: Mapping[Any, Any]) -> str:
    if not content:
        return "it is empty"
    shown = [ascii(_key(key))[1:-1] for key in content][:6]
    return "its keys: " + ", ".join(shown) + (", …" if len(content) > len(shown) else "")
