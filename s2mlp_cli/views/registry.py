"""From records of any kind to their views, and to the views of a report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module

from s2mlp_cli.records.base import Record
from s2mlp_cli.records.reading import KINDS
from s2mlp_cli.views import accuracy
from s2mlp_cli.views.document import Sheet, View


def view(record: Record) -> View:
    """Return the view of one record."""
    found: View = import_module(KINDS[record.kind].view).view(record)
    return found


def sheet(record: Record) -> Sheet:
    """Return the raw values of one record, for CSV."""
    found: Sheet = import_module(KINDS[record.kind].view).sheet(record)
    return found


def report(records: Sequence[Record], names: Sequence[str] = ()) -> list[View]:
    """Return a view per record, in the order given, and one of what they tell jointly.

    Args:
        records: of any kinds, mixed.
        names: a short name for each record; it tells two views with the same title apart. Without
            names, or where they are the same too, the number of the record does.
    """
    own = [_of_document(record) for record in records]
    titles = [each.title for each in own]
    told = names if len(set(names)) == len(own) else [f"#{n + 1}" for n in range(len(own))]
    apart = [
        each if titles.count(each.title) == 1 else replace(each, title=f"{each.title} ({name})")
        for each, name in zip(own, told, strict=True)
    ]
    together = accuracy.view([model for each in own for model in each.models()])
    return [*apart, *([together] if together else [])]


def _of_document(record: Record) -> View:
    """Return the view with where the record was made, which only documents say."""
    found = view(record)
    environment = {**found.environment, **_environment(record)}
    return replace(found, where=_where(record), environment=environment)


def _where(record: Record) -> str:
    """Return when, on what and with which versions a record was made, in a line."""
    environment = record.environment
    device = ", ".join(dict.fromkeys(environment.gpus)) or environment.cpu
    versions = {"s2mlp": environment.s2mlp, "torch": environment.packages.get("torch")}
    words = (f"{name} {version}" for name, version in versions.items() if version)
    return ", ".join([f"{record.created:%Y-%m-%d %H:%M} UTC", device, *words])


def _environment(record: Record) -> dict[str, str]:
    """Return where and how a record was made; what a machine does not have is left out."""
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
