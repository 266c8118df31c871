"""``--set key=value`` for everything that a command line names: specs, models, shifts and modules.

Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.specs import spec_keys
from s2mlp_cli.specs.yaml_source import parse_value
from s2mlp_cli.user_code import code_takes, names_code


def share_out(
    overrides: tuple[str, ...], models: Sequence[str], code: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return which of the ``--set key=value`` texts each thing of a command gets: all it takes.

    A spec takes keys, code the names of its arguments. What is alone gets all of them.

    Args:
        overrides: as the user gave them.
        models: names of specs, checkpoints and models from Python files.
        code: names of shifts and modules from Python files.

    Raises:
        UserCodeError: nothing takes one of them.
    """
    names = dict.fromkeys((*models, *code))
    if len(names) < 2 or not any(map(names_code, names)):
        return dict.fromkeys(names, overrides)
    takes = {name: code_takes(name) if names_code(name) else spec_keys() for name in names}
    shared: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    for override in overrides:
        key = override.partition("=")[0].partition(".")[0]
        takers = [name for name, known in takes.items() if known is None or key in known]
        if not takers:
            listed = "; ".join(
                f"{name} takes {', '.join(known or ())}" for name, known in takes.items()
            )
            raise UserCodeError(f"--set {override}: nothing here takes '{key}'; {listed}")
        for name in takers:
            shared[name] += (override,)
    return shared


def code_arguments(overrides: tuple[str, ...], model: str) -> dict[str, Any]:
    """Read ``--set key=value`` as keyword arguments, each value as YAML."""
    arguments: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.isidentifier():
            raise UserCodeError(
                f"--set {override} for {model}: use KEY=VALUE, where KEY is the name of an argument"
            )
        arguments[key] = parse_value(text, f"--set {override} for {model}")
    return arguments
