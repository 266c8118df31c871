"""How every command gives out its record: on stdout in one format, and to a file in its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from s2mlp_cli.records.base import Record, write_atomically
from s2mlp_cli.render.console import results_console
from s2mlp_cli.render.kinds import renderer
from s2mlp_cli.render.sheets import to_csv, to_markdown

TEXTS: dict[str, Callable[[Record], str]] = {
    "json": lambda record: record.to_json(),
    "csv": lambda record: to_csv(renderer(record).sheet(record)),
    "markdown": lambda record: to_markdown(renderer(record).sheet(record)),
}
ENDINGS = {".json": "json", ".csv": "csv", ".md": "markdown"}


def emit(record: Record, output_format: str, output: Path | None, **view: Any) -> None:
    """Print ``record`` on stdout in ``output_format``; save it to ``output`` by its ending.

    ``view`` goes to the renderer of the terminal: which side of the record to show.
    """
    if output is not None:
        save(record, output)
    if output_format == "table":
        results_console().print(renderer(record).terminal(record, **view))
    else:
        click.echo(TEXTS[output_format](record), nl=False)


def save(record: Record, output: Path) -> None:
    """Write ``record`` to ``output`` atomically, as JSON, CSV or Markdown by the file's ending."""
    write_atomically(output, TEXTS[ENDINGS[output.suffix]](record))
