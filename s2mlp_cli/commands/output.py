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
from s2mlp_cli.views import latex
from s2mlp_cli.views.document import View
from s2mlp_cli.views.registry import view as view_of
from s2mlp_cli.views.sheet import to_csv, to_markdown
from s2mlp_cli.views.terminal import results_console, screen, to_text

TEXTS: dict[str, Callable[[Record, View], str]] = {
    "json": lambda record, view: record.to_json(),
    "csv": lambda record, view: to_csv(view.sheet),
    "markdown": lambda record, view: to_markdown(view.sheet),
    "latex": lambda record, view: latex.document([view], folded=False),
}
ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}


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


def emit(record: Record, output_format: str, output: Path | None, view: View | None = None) -> None:
    """Print ``record`` on stdout in ``output_format``; save it to ``output`` by its ending.

    ``view`` is what to show of it, where that is not the usual view of its kind. If the file
    cannot be written, the record is printed all the same, and not lost.
    """
    shown = view or view_of(record)
    try:
        if output is not None:
            save(record, output, shown)
    finally:
        if output_format == "table":
            show(screen(shown))
        else:
            click.echo(TEXTS[output_format](record, shown), nl=False)


def save(record: Record, output: Path, view: View | None = None) -> None:
    """Write ``record`` to ``output`` atomically, as JSON, CSV or Markdown by the file's ending."""
    text = TEXTS[ENDINGS[output.suffix]](record, view or view_of(record))
    write_atomically(output, text)
