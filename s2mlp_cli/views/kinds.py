"""Which renderer belongs to which kind of record.

A renderer is a module with ``terminal(record)``, a rich renderable whose first line answers the
question, and ``sheet(record)``, its raw rows for CSV and Markdown.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from rich.console import RenderableType

from s2mlp_cli.records.base import Record
from s2mlp_cli.views.sheets import Sheet

_MODULES = {
    "count": "s2mlp_cli.views.count",
    "audit": "s2mlp_cli.views.audit",
    "profile": "s2mlp_cli.views.profile",
    "trace": "s2mlp_cli.views.trace",
    "verify": "s2mlp_cli.views.verify",
    "validate": "s2mlp_cli.views.validate",
    "compare": "s2mlp_cli.views.compare",
}


class Renderer(Protocol):
    """What a module of the table above offers."""

    def terminal(self, record: Any, **view: Any) -> RenderableType:
        """Return what a terminal shows."""
        ...

    def sheet(self, record: Any, **view: Any) -> Sheet:
        """Return the raw rows."""
        ...


def renderer(record: Record) -> Renderer:
    """Return the renderer for this record's kind."""
    return cast(Renderer, importlib.import_module(_MODULES[record.kind]))
