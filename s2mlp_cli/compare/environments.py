"""What was not the same where two measurements were made."""

from __future__ import annotations

from collections.abc import Sequence

from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.compare import EnvironmentDifference


def environment_differences(
    environments: Sequence[Environment],
) -> tuple[EnvironmentDifference, ...]:
    """Return what differs, the most telling first: the GPU, then torch, then the rest."""
    described = [_described(environment) for environment in environments]
    names = list(dict.fromkeys(name for each in described for name in each))
    rows = [(name, tuple(each.get(name) for each in described)) for name in names]
    return tuple(
        EnvironmentDifference(what=name, values=values)
        for name, values in rows
        if len(set(values)) > 1
    )


def _described(environment: Environment) -> dict[str, str | None]:
    packages = dict(environment.packages)
    return {
        "GPU": ", ".join(environment.gpus) or None,
        "torch": packages.pop("torch", None),
        "driver": environment.driver,
        "CUDA": environment.cuda,
        "CPU": environment.cpu,
        "cores": str(environment.cpu_count),
        "system": environment.platform,
        "Python": environment.python,
        "s2mlp": environment.s2mlp,
        **packages,
    }
