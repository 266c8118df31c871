"""Taking the weights out of what training scripts wrap around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from s2mlp_cli.errors import CheckpointError

State = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network")
_AVERAGED = ("model_ema", "state_dict_ema", "ema", "ema_state_dict", "ema_model", "averaged_model")
_PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.")
# Scalars that averaging helpers keep beside the weights.
_COUNTERS = ("n_averaged", "num_updates", "decay")
# Characters of a tensor's name.
_LONGEST = 300


@dataclass(frozen=True)
class Taken:
    """The weights, and in words which part of the file they were."""

    state: State
    description: str


def take_weights(content: Any, averaged: bool = False) -> Taken:
    """Find the state dict inside ``content`` and cut off the prefixes of wrapping modules.

    Args:
        content: what the file held.
        averaged: take the averaged (EMA) weights.

    Raises:
        CheckpointError: there are no weights, or no averaged ones.
    """
    path, state = _descend(content, averaged)
    if averaged and not any(key in _AVERAGED for key in path):
        raise CheckpointError(
            f"the checkpoint holds no averaged weights ({_keys(content)}); leave out --ema"
        )
    state, prefixes = _strip(state)
    where = f"'{'.'.join(path)}'" if path else "the state dict itself"
    cut = f", without the prefix '{''.join(prefixes)}'" if prefixes else ""
    return Taken(state, where + cut + _not_taken(content, path))


def _not_taken(content: Mapping[Any, Any], path: tuple[str, ...]) -> str:
    """Say that averaged weights stand beside the ones that were taken."""
    others = [key for key in _AVERAGED if _leads_on(content.get(key), set())]
    if not others or any(key in _AVERAGED for key in path):
        return ""
    return f"; averaged ones are in '{others[0]}' (--ema)"


def _descend(content: Any, averaged: bool) -> tuple[tuple[str, ...], State]:
    """Follow the known keys down to a mapping of tensors.

    A mapping that holds itself is entered once.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"the checkpoint holds a {type(content).__name__}, no state dict; save "
            "model.state_dict()"
        )
    order = (*_AVERAGED, *_WRAPPERS) if averaged else (*_WRAPPERS, *_AVERAGED)
    path: list[str] = []
    entered = {id(content)}
    while key := next((k for k in order if _leads_on(content.get(k), entered)), None):
        path.append(key)
        content = content[key]
        entered.add(id(content))
    state = {
        _name(name): value
        for name, value in content.items()
        if isinstance(value, Tensor) and name not in _COUNTERS
    }
    if not state:
        raise CheckpointError(
            f"the checkpoint holds no weights ({_keys(content)}); save model.state_dict()"
        )
    return tuple(path), state


def _leads_on(value: Any, entered: set[int]) -> bool:
    return isinstance(value, Mapping) and id(value) not in entered and _has_tensors(value)


def _has_tensors(value: Mapping[Any, Any]) -> bool:
    """Tell whether a tensor is in ``value`` or in a mapping inside it, each looked at once."""
    seen, waiting = {id(value)}, [value]
    while waiting:
        for item in waiting.pop().values():
            if isinstance(item, Tensor):
                return True
            if isinstance(item, Mapping) and id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)
    return False


def _name(name: Any) -> str:
    """Return the name of a tensor, which messages and files can carry."""
    if not isinstance(name, str) or not name.isprintable() or len(name) > _LONGEST:
        raise CheckpointError(
            f"the checkpoint has a tensor of the name {_key(name)!a}, which no model gives; "
            "save model.state_dict()"
        )
    return name


def _key(key: Any) -> str:
    """Return a key of any kind as a message can carry it: a number may have a million digits."""
    return key[:40] if isinstance(key, str) else f"a key of type {type(key).__name__}"


def _strip(state: State) -> tuple[State, list[str]]:
    """Cut off known prefixes as long as all tensors bear the same one."""
    cut = []
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        cut.append(prefix)
    return state, cut


def _keys(content: Mapping[Any, Any]) -> str:
    shown = [ascii(_key(key))[1:-1] for key in content][:6]
    return "its keys: " + ", ".join(shown) + (", …" if len(content) > len(shown) else "")
