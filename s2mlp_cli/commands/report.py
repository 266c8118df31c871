"""``s2mlp report``: saved records as an HTML file, as Markdown, or in the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from s2mlp_cli.commands.output import show
from s2mlp_cli.compare import compare_records
from s2mlp_cli.errors import WriteError, printable
from s2mlp_cli.files import write_atomically
from s2mlp_cli.records.base import Record
from s2mlp_cli.records.compare import CompareRecord
from s2mlp_cli.records.reading import read_record
from s2mlp_cli.records.validate import ValidateRecord
from s2mlp_cli.views import latex, markdown
from s2mlp_cli.views.document import Picture, View
from s2mlp_cli.views.registry import report, view
from s2mlp_cli.views.terminal import remarks_console, to_text

FORMATS = {"html": ".html", "markdown": ".md", "terminal": ".txt", "latex": ".tex"}
PICTURES = ("svg", "pdf", "png")


@click.command(
    short_help="Saved records as HTML, Markdown, LaTeX or terminal text.",
    no_args_is_help=True,
    epilog="""
    \b
    Examples:
      s2mlp count --model v2-medium -o count.json
      s2mlp report count.json
      s2mlp report count.json profile.json -o report.html
      s2mlp report profile.json --figures figures --as pdf
      s2mlp report ours.json theirs.json -o both.html
    """,
)
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "output_format",
    type=click.Choice(list(FORMATS)),
    help="Default: by the ending of -o (.html, .md, .txt, .tex), else terminal.",
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
)
@click.option("--title", help="Heading of the report.")
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write every picture as a file into this folder.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(PICTURES),
    default="svg",
    show_default=True,
    help="The form of the files of --figures.",
)
def command(
    records: tuple[Path, ...],
    output_format: str | None,
    output: Path | None,
    title: str | None,
    figures: Path | None,
    form: str,
) -> None:
    """Show saved RECORDS (JSON files of any command, mixed) as one report.

    HTML is one file that loads nothing; Markdown has its pictures as SVG files beside it; LaTeX has
    the tables alone. Several validations of the same images are also compared with each other.
    """
    chosen = output_format or _by_ending(output)
    loaded = [read_record(path) for path in records]
    names = [path.stem for path in records]
    compared = _validations(records, loaded)
    if compared is not None:
        loaded, names = [*loaded, compared], [*names, "compared"]
    if figures is not None:
        _figures(report(loaded, names), figures, form)
        if output is None and output_format is None:
            return
    if chosen == "terminal" and output is None:
        show(*map(view, loaded))
        return
    text = _written(chosen, loaded, names, title or "S2-MLP measurements", output)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)
        click.echo(printable(output))


def _written(
    form: str, records: Sequence[Record], names: Sequence[str], title: str, output: Path | None
) -> str:
    """Return the report; the pictures of Markdown are written beside it."""
    if form == "terminal":
        return to_text(list(map(view, records)))
    views = report(records, names)
    if form == "html":
        from s2mlp_cli.views import html

        return html.page(views, title)
    if form == "latex":
        return latex.document(views)
    if output is None:
        remarks_console().print("pictures are left out; give -o FILE.md to have them beside it")
        return markdown.document(views, title, link=None)
    placed = _placing(output.parent, f"{output.stem}-", "svg")
    return markdown.document(views, title, link=placed)


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


def _validations(paths: Sequence[Path], records: Sequence[Record]) -> CompareRecord | None:
    """Compare the validations of the same images, the last against the first."""
    found = [
        (path, record)
        for path, record in zip(paths, records, strict=True)
        if isinstance(record, ValidateRecord)
    ]
    sets = {result.data.fingerprint for _, record in found for result in record.results}
    if len(found) < 2 or len(sets) > 1:
        return None
    return compare_records([path for path, _ in found], [record for _, record in found], None)


def _figures(views: Sequence[View], folder: Path, form: str) -> None:
    """Write every picture into the folder, and say which files these are."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot make the folder {folder}: {error.strerror}; choose another --figures"
        ) from error
    placed = _placing(folder, "", form)
    for each in views:
        for picture in each.pictures():
            click.echo(printable(folder / placed(picture)))


def _placing(folder: Path, start: str, form: str) -> Callable[[Picture], str]:
    """Return a function that writes a picture into the folder and returns the file's name.

    No two have the same name, and none is linked to before it is there.
    """
    taken: set[str] = set()

    def place(picture: Picture) -> str:
        slug = start + re.sub(r"[^\w.-]+", "-", picture.name)[:80]
        name, number = f"{slug}.{form}", 1
        while name in taken:
            number += 1
            name = f"{slug}-{number}.{form}"
        taken.add(name)
        write_atomically(folder / name, picture.drawing.file(form))
        return name

    return place
