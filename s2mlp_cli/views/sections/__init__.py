"""From a record to its section of a report: one module per kind, and the table of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from s2mlp_cli.records.base import Record
from s2mlp_cli.views.document import Section
from s2mlp_cli.views.sections import families

_MODULES = {
    "count": "s2mlp_cli.views.sections.count",
    "audit": "s2mlp_cli.views.sections.audit",
    "verify": "s2mlp_cli.views.sections.verify",
    "profile": "s2mlp_cli.views.sections.profile",
    "trace": "s2mlp_cli.views.sections.trace",
    "validate": "s2mlp_cli.views.sections.validate",
    "compare": "s2mlp_cli.views.sections.compare",
}


def sections(records: Sequence[Record], sources: Sequence[str] = ()) -> list[Section]:
    """Return a section per record, in the order given, and one of what they tell jointly.

    Args:
        records: of any kinds, mixed.
        sources: a short name for each record: two sections that would be called the same are told
            apart by it, else by their number.
    """
    together = families.section(records)
    own = [section(record) for record in records]
    return [*_told_apart(own, sources), *([together] if together else [])]


def _told_apart(parts: Sequence[Section], sources: Sequence[str]) -> Iterator[Section]:
    titles = [part.title for part in parts]
    names = sources if len(set(sources)) == len(parts) else [f"#{n + 1}" for n in range(len(parts))]
    for part, name in zip(parts, names, strict=True):
        alone = titles.count(part.title) == 1
        yield part if alone else replace(part, title=f"{part.title} ({name})")


def section(record: Record) -> Section:
    """Return the section for a record of any kind."""
    module = importlib.import_module(_MODULES[record.kind])
    return cast(Callable[[Record], Section], module.section)(record)
