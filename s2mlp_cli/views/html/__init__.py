"""Views as one HTML file that needs nothing else: no network, no fonts, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from s2mlp_cli._version import __version__
from s2mlp_cli.views.document import Picture, View, readable
from s2mlp_cli.views.svg import canvas

if TYPE_CHECKING:
    from jinja2 import Template

_HERE = Path(__file__).parent

# Letters of a table that fit into a page of 1200 pixels.
_WIDE = 132


def page(views: Sequence[View], title: str) -> str:
    """Return the page. Texts of records are escaped; only our own pictures and style are not."""
    from markupsafe import Markup

    return _template().render(
        title=title,
        views=views,
        version=__version__,
        css=Markup((_HERE / "page.css").read_text(encoding="utf-8") + canvas.shared_css()),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        inline=_inline,
        width=_WIDE,
        lines=_lines,
    )


def _readable(value: object) -> object:
    return readable(value) if type(value) is str else value  # markup of our own stays as it is


def _lines(text: str) -> object:
    from markupsafe import Markup, escape

    return Markup("<br>").join(escape(line) for line in readable(text).split("\n"))


def _inline(picture: Picture, prefix: str) -> object:
    """Return the SVG for the middle of a page: its ids unique, its description readable."""
    from markupsafe import Markup, escape

    svg = canvas.with_prefix(picture.drawing.svg(), prefix)
    label = escape(readable(f"{picture.drawing.title}: {picture.description}"))
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
