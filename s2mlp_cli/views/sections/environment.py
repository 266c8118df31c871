"""Where and how a record was made, as the facts that stand at the end of its section."""

from __future__ import annotations

import shlex

from s2mlp_cli.records.base import Record


def facts(record: Record) -> dict[str, str]:
    """Return name -> text; what a machine does not have is left out."""
    environment = record.environment
    everything = {
        "Command": shlex.join(record.command),
        "Made": f"{record.created:%Y-%m-%d %H:%M:%S} UTC",
        "GPU": ", ".join(environment.gpus),
        "Driver": environment.driver or "",
        "CUDA": environment.cuda or "",
        "CPU": f"{environment.cpu} ({environment.cpu_count} logical cores)",
        "System": environment.platform,
        "Versions": ", ".join(
            f"{name} {version}"
            for name, version in {
                "s2mlp": environment.s2mlp,
                "Python": environment.python,
                **environment.packages,
            }.items()
        ),
    }
    return {name: text for name, text in everything.items() if text}
