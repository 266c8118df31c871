"""The line that answers the question is the same in every form of a report."""

from __future__ import annotations

from s2mlp_cli.records.base import Record
from s2mlp_cli.views.console import to_text
from s2mlp_cli.views.kinds import renderer

# Columns: no answer is broken into lines.
_WIDE = 4000


def answer(record: Record) -> str:
    """Return the first line of what a terminal shows for this record."""
    return to_text(renderer(record).terminal(record), width=_WIDE).partition("\n")[0].strip()
