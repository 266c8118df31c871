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
_COUNTERS = ("n_averaged", "num_updates", "decay")
"""Scalars that averaging helpers keep beside the weights."""


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
    state = {name: tensor for name, tensor in state.items() if name not in _COUNTERS}
    state, prefixes = _strip(state)
    where = f"'{'.'.join(path)}'" if path else "the state dict itself"
    cut = f", without the prefix '{''.join(prefixes)}'" if prefixes else ""
    return Taken(state, where + cut)


def _descend(content: Any, averaged: bool) -> tuple[tuple[str, ...], State]:
    """Follow the known keys down to a mapping of tensors."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"the checkpoint holds a {type(content).__name__}, no state dict; save "
            "model.state_dict()"
        )
    order = (*_AVERAGED, *_WRAPPERS) if averaged else (*_WRAPPERS, *_AVERAGED)
    for key in order:
        if isinstance(content.get(key), Mapping) and _has_tensors(content[key]):
            path, state = _descend(content[key], averaged)
            return (key, *path), state
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(
            f"the checkpoint holds no weights ({_keys(content)}); save model.state_dict()"
        )
    return (), state


def _has_tensors(value: Mapping[Any, Any]) -> bool:
    return any(
        isinstance(item, Tensor) or (isinstance(item, Mapping) and _has_tensors(item))
        for item in value.values()
    )


def _strip(state: State) -> tuple[State, list[str]]:
    """Cut off known prefixes as long as all tensors bear the same one."""
    cut = []
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        cut.append(prefix)
    return state, cut


def _keys(content: Mapping[Any, Any]) -> str:
    shown = [str(key) for key in content][:6]
    return "its keys: " + ", ".join(shown) + (", …" if len(content) > len(shown) else "")
