"""Views as Markdown for GitHub: pictures are files beside it, long tables are folded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote

from s2mlp_cli.views.document import Cell, Column, KeyFigure, Picture, Table, View, readable


def document(views: Sequence[View], title: str, link: Callable[[Picture], str] | None) -> str:
    """Return the document.

    Args:
        views: the sections, in order.
        title: the heading of the whole.
        link: returns where a picture's file is, relative to the document; None leaves pictures out.
    """
    parts = [f"# {_text(title)}"]
    for each in views:
        parts += _section(each, link)
    return "\n\n".join(parts) + "\n"


def _section(view: View, link: Callable[[Picture], str] | None) -> Iterator[str]:
    yield f"## {_text(view.title)}"
    for answer in view.answers:
        yield f"**{_text(answer)}**"
    if view.warnings:
        yield "\n".join(["> [!WARNING]", *(f"> - {_text(each)}" for each in view.warnings)])
    if view.key_figures:
        yield "\n".join(map(_key_figure, view.key_figures))
    if link:
        for each in view.pictures:
            yield f"![{_text(each.title)}: {_text(each.description)}]({quote(link(each))})"
    for table in view.tables:
        if table.rows:
            yield from _table(table.condensed())
    yield from map(_text, view.remarks)
    if view.facts:
        yield _list(view.facts)
    if view.environment:
        yield from _folded("How this was measured", _list(view.environment))


def _key_figure(each: KeyFigure) -> str:
    remark = f" ({_text(each.remark)})" if each.remark else ""
    return f"- {_text(each.title)}: **{_text(each.value)}**{remark}"


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {_text(text)}" for name, text in facts.items())


def _table(table: Table) -> Iterator[str]:
    columns = table.columns
    lines = [
        _line([_heading(column) for column in columns]),
        "|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|",
        *(
            _line([_cell(*each) for each in zip(row, columns, strict=True)])
            for row in table.cells()
        ),
    ]
    body = "\n".join(lines)
    if table.folded:
        yield from _folded(table.caption, body)
    else:
        if table.caption:
            yield f"### {_text(table.caption)}"
        yield body
    if table.note:
        yield _text(table.note)


def _folded(title: str, body: str) -> Iterator[str]:
    yield from (f"<details><summary>{_text(title)}</summary>", body, "</details>")


def _heading(column: Column) -> str:
    return _text(column.title) + (f" ({column.unit})" if column.unit else "")


def _cell(cell: Cell, column: Column) -> str:
    """Return a cell; an interval never breaks over two lines."""
    text = "<br>".join(map(_text, cell.text.split("\n")))
    if column.numeric:
        text = text.replace("–", "\u2060–\u2060").replace(" ", "\u00a0")
    return f"**{text}**" if cell.tone == "bad" else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    flat = readable(re.sub(r"[^\S\u00a0]+", " ", text))  # no-break spaces indent names
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", flat).replace("&", "&amp;")
