"""How every command gives out its record: on stdout in one format, and to a file in its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import RenderableType

from s2mlp_cli.files import write_atomically
from s2mlp_cli.records.base import Record
from s2mlp_cli.views.console import results_console, to_text
from s2mlp_cli.views.kinds import renderer
from s2mlp_cli.views.sheets import to_csv, to_markdown

TEXTS: dict[str, Callable[..., str]] = {
    "json": lambda record, **view: record.to_json(),
    "csv": lambda record, **view: to_csv(renderer(record).sheet(record, **view)),
    "markdown": lambda record, **view: to_markdown(renderer(record).sheet(record, **view)),
}
ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown"}


Kind = TypeVar("Kind", bound=Record)


def made_here(kind: type[Kind], **fields: Any) -> Kind:
    """Return a record with this process's command line and this machine filled in."""
    from s2mlp_cli.measure.environment import environment

    return kind.new(command=command_line(), environment=environment(), **fields)


def command_line() -> tuple[str, ...]:
    """Return the words that this process was started with, as a user types them."""
    return ("s2mlp", *sys.argv[1:])


def show(renderable: RenderableType) -> None:
    """Print on stdout; a pipe gets no blanks up to the width that a terminal would have."""
    console = results_console()
    if console.is_terminal:
        console.print(renderable, crop=False)
    else:
        # Not click.echo, which encodes as it likes.
        print(to_text(renderable, console.width), end="", flush=True)


def emit(record: Record, output_format: str, output: Path | None, **view: Any) -> None:
    """Print ``record`` on stdout in ``output_format``; save it to ``output`` by its ending.

    ``view`` goes to the renderer: which side of the record to show. Where the file cannot be
    written the record is printed all the same, and not lost.
    """
    try:
        if output is not None:
            save(record, output, **view)
    finally:
        if output_format == "table":
            show(renderer(record).terminal(record, **view))
        else:
            click.echo(TEXTS[output_format](record, **view), nl=False)


def save(record: Record, output: Path, **view: Any) -> None:
    """Write ``record`` to ``output`` atomically, as JSON, CSV or Markdown by the file's ending."""
    write_atomically(output, TEXTS[ENDINGS[output.suffix]](record, **view))
