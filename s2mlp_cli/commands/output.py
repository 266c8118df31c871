"""How every command gives out its record: on stdout in one format, and to a file in its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from s2mlp_cli.files import write_atomically
from s2mlp_cli.records.base import Record
from s2mlp_cli.views import latex, registry
from s2mlp_cli.views.document import Sheet, View
from s2mlp_cli.views.sheet import to_csv, to_markdown
from s2mlp_cli.views.terminal import results_console, screen, to_text

ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}
FORMATS = ("table", *ENDINGS.values())

Kind = TypeVar("Kind", bound=Record)


def made_here(kind: type[Kind], **fields: Any) -> Kind:
    """Return a record with this process's command line and this machine filled in."""
    from s2mlp_cli.measure.environment import environment

    return kind.new(command=command_line(), environment=environment(), **fields)


def command_line() -> tuple[str, ...]:
    """Return the words that this process was started with, as a user types them."""
    return ("s2mlp", *sys.argv[1:])


def show(*views: View) -> None:
    """Print on stdout; a pipe gets no blanks up to the width that a terminal would have."""
    console = results_console()
    if console.is_terminal:
        console.print(screen(views, console.width), crop=False)
    else:
        # Not click.echo, which encodes as it likes.
        print(to_text(views, console.width), end="", flush=True)


def emit(
    record: Record,
    output_format: str,
    output: Path | None,
    view: Callable[[Any], View] = registry.view,
    sheet: Callable[[Any], Sheet] = registry.sheet,
) -> None:
    """Print ``record`` on stdout in ``output_format``; save it to ``output`` by its ending.

    ``view`` and ``sheet`` make what is shown of it; what the formats do not show is not made. If
    the file cannot be written, the record is printed all the same, and not lost.
    """
    try:
        if output is not None:
            save(record, output, view, sheet)
    finally:
        if output_format == "table":
            show(view(record))
        else:
            click.echo(_text(record, output_format, view, sheet), nl=False)


def save(
    record: Record,
    output: Path,
    view: Callable[[Any], View] = registry.view,
    sheet: Callable[[Any], Sheet] = registry.sheet,
) -> None:
    """Write ``record`` to ``output`` atomically, in the format of the file's ending."""
    write_atomically(output, _text(record, ENDINGS[output.suffix], view, sheet))


def _text(
    record: Record, form: str, view: Callable[[Any], View], sheet: Callable[[Any], Sheet]
) -> str:
    if form == "json":
        return record.to_json()
    if form == "latex":
        return latex.document([view(record)], details=False)
    return (to_csv if form == "csv" else to_markdown)(sheet(record))
