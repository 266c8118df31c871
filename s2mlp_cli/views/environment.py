"""What this machine offers."""

from __future__ import annotations

from collections.abc import Mapping

from s2mlp_cli.records.base import Environment
from s2mlp_cli.views.document import Cell, Column, Table, View


def environment_view(
    environment: Environment, shifts: Mapping[str, Mapping[str, str | None]]
) -> View:
    """Return versions and devices, and for each shift and device whether it runs, or why not."""
    devices = ", ".join(environment.gpus) or "no GPU"
    versions = (
        ("s2mlp", environment.s2mlp),
        ("python", f"{environment.python} on {environment.platform}"),
        *(
            [("cores", f"{environment.cpu_count} ({environment.cpu_count_why})")]
            if environment.cpu_count_why
            else []
        ),
        *environment.packages.items(),
        ("CUDA of torch", environment.cuda or "none"),
        *([("NVIDIA driver", environment.driver)] if environment.driver is not None else []),
    )
    alike: dict[tuple[str, str | None], list[str]] = {}
    for name, reasons in shifts.items():
        for device, why in reasons.items():
            alike.setdefault((device, why), []).append(name)
    shown = tuple(
        (
            ", ".join(names),
            device,
            Cell(why, f"no: {why}", "warn") if why else Cell(why, "yes", "good"),
        )
        for (device, why), names in alike.items()
    )
    return View(
        title="Environment",
        answers=(f"{environment.cpu}, {environment.cpu_count} cores; {devices}",),
        tables=(
            Table("", (Column("What"), Column("Version")), versions),
            Table(
                "Shifts that run here",
                (Column("Shifts"), Column("Device"), Column("Runs here", prose=True)),
                shown,
            ),
        ),
    )
