"""Which renderer belongs to which kind of record.

A renderer is a module with ``terminal(record)``, a rich renderable whose first line answers the
question, and ``sheet(record)``, its raw rows for CSV and Markdown.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from rich.console import RenderableType

from s2mlp_cli.records.base import Record
from s2mlp_cli.render.sheets import Sheet

_MODULES = {
    "count": "s2mlp_cli.render.count",
    "audit": "s2mlp_cli.render.audit",
    "profile": "s2mlp_cli.render.profile",
    "trace": "s2mlp_cli.render.trace",
    "verify": "s2mlp_cli.render.verify",
    "validate": "s2mlp_cli.render.validate",
    "compare": "s2mlp_cli.render.compare",
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
