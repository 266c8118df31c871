"""The environment on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from s2mlp_cli.records.base import Environment
from s2mlp_cli.views.tables import house_table


def environment_table(
    environment: Environment, shifts: Mapping[str, Mapping[str, str | None]]
) -> RenderableType:
    """Return versions and devices, and one row per shift: runs on each device, or why not."""
    devices = ", ".join(environment.gpus) or "no GPU"
    answer = Text(f"{environment.cpu}, {environment.cpu_count} cores; {devices}", style="answer")
    versions = house_table("what", "version")
    versions.add_row("s2mlp", environment.s2mlp)
    versions.add_row("python", f"{environment.python} on {environment.platform}")
    for package, version in environment.packages.items():
        versions.add_row(package, version)
    versions.add_row("CUDA of torch", environment.cuda or "none")
    if environment.driver is not None:
        versions.add_row("NVIDIA driver", environment.driver)
    table = house_table("shift", "device", "runs here")
    for name, devices_of in shifts.items():
        for device, reason in devices_of.items():
            runs = Text("yes", style="good") if reason is None else Text(f"no: {reason}", "warn")
            table.add_row(Text(name, style="key"), device, runs)
    return Group(answer, versions, table)
