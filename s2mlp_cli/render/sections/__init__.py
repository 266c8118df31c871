"""From a record to its section of a report: one module per kind, and the table of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import cast

from s2mlp_cli.records.base import Record
from s2mlp_cli.render.document import Section
from s2mlp_cli.render.sections import families

_MODULES = {
    "count": "s2mlp_cli.render.sections.count",
    "audit": "s2mlp_cli.render.sections.audit",
    "verify": "s2mlp_cli.render.sections.verify",
    "profile": "s2mlp_cli.render.sections.profile",
    "trace": "s2mlp_cli.render.sections.trace",
    "validate": "s2mlp_cli.render.sections.validate",
    "compare": "s2mlp_cli.render.sections.compare",
}


def sections(records: Sequence[Record]) -> list[Section]:
    """Return a section per record, in the order given, and one of what they tell jointly."""
    together = families.section(records)
    return [*map(section, records), *([together] if together else [])]


def section(record: Record) -> Section:
    """Return the section for a record of any kind."""
    module = importlib.import_module(_MODULES[record.kind])
    return cast(Callable[[Record], Section], module.section)(record)
