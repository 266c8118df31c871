"""``s2mlp report``: saved records as an HTML file, as Markdown, or in the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import click

from s2mlp_cli.commands.output import show
from s2mlp_cli.files import write_atomically
from s2mlp_cli.records.base import Record
from s2mlp_cli.records.reading import read_record
from s2mlp_cli.views import markdown
from s2mlp_cli.views.document import Picture, View
from s2mlp_cli.views.registry import report, view
from s2mlp_cli.views.svg.canvas import standalone
from s2mlp_cli.views.terminal import remarks_console, screen, to_text

FORMATS = {"html": ".html", "markdown": ".md", "terminal": ".txt"}


@click.command(
    short_help="Saved records as HTML, Markdown or terminal text.",
    no_args_is_help=True,
    epilog="""
    \b
    Examples:
      s2mlp count --model v2-medium -o count.json
      s2mlp report count.json
      s2mlp report count.json profile.json -o report.html
    """,
)
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "output_format",
    type=click.Choice(list(FORMATS)),
    help="Default: by the ending of -o (.html, .md, .txt), else terminal.",
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
)
@click.option("--title", help="Heading of the report.")
def command(
    records: tuple[Path, ...], output_format: str | None, output: Path | None, title: str | None
) -> None:
    """Show saved RECORDS (JSON files of any command, mixed) as one report.

    HTML is one file that loads nothing; Markdown has its pictures as SVG files beside it.
    """
    chosen = output_format or _by_ending(output)
    loaded = [read_record(path) for path in records]
    if chosen == "terminal":
        _terminal(loaded, output)
        return
    views = report(loaded, [path.stem for path in records])
    heading = title or "S2-MLP measurements"
    if chosen == "html":
        from s2mlp_cli.views import html

        _give(html.page(views, heading), output)
    else:
        _markdown(views, heading, output)


def _by_ending(output: Path | None) -> str:
    if output is None:
        return "terminal"
    for name, ending in FORMATS.items():
        if output.suffix.lower() == ending:
            return name
    raise click.UsageError(
        f"cannot tell the format from '{output}'; end it with {', '.join(FORMATS.values())} or "
        "give --format"
    )


def _terminal(records: list[Record], output: Path | None) -> None:
    from rich.console import Group
    from rich.text import Text

    first, *others = (screen(view(record)) for record in records)
    shown = Group(first, *(part for each in others for part in (Text(), each)))
    if output is None:
        show(shown)
    else:
        write_atomically(output, to_text(shown))


def _markdown(views: list[View], heading: str, output: Path | None) -> None:
    """Write the document, and its pictures first, so that no link ever points at nothing."""
    if output is None:
        _give(markdown.document(views, heading, link=None), None)
        remarks_console().print("pictures are left out; give -o FILE.md to have them beside it")
        return

    files = _picture_files(views, output.stem)
    for picture, name in files:
        write_atomically(output.with_name(name), standalone(picture.svg()))
    names = {id(picture): name for picture, name in files}
    text = markdown.document(views, heading, link=lambda picture: names[id(picture)])
    write_atomically(output, text)


def _picture_files(views: list[View], stem: str) -> list[tuple[Picture, str]]:
    """Return every picture with the name of its file; no two have the same."""
    files: dict[str, Picture] = {}
    for picture in (picture for each in views for picture in each.pictures):
        slug = re.sub(r"[^\w.-]+", "-", picture.name)[:80]
        name, number = f"{stem}-{slug}.svg", 2
        while name in files:
            name, number = f"{stem}-{slug}-{number}.svg", number + 1
        files[name] = picture
    return [(picture, name) for name, picture in files.items()]


def _give(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)
