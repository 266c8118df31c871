"""Views as Markdown for GitHub: pictures are files beside it, long tables are folded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote

from s2mlp_cli.views.document import Cell, Column, KeyFigure, Picture, Printed, View
from s2mlp_cli.views.sheet import escaped

# Letters of a table that GitHub shows without a scroll bar.
_WIDE = 118


def document(views: Sequence[View], title: str, link: Callable[[Picture], str] | None) -> str:
    """Return the document.

    Args:
        views: the sections, in order.
        title: the heading of the whole.
        link: returns where a picture's file is, relative to the document; None leaves pictures out.
    """
    parts = [f"# {escaped(title)}"]
    for each in views:
        parts += _section(each, link)
    return "\n\n".join(parts) + "\n"


def _section(view: View, link: Callable[[Picture], str] | None) -> Iterator[str]:
    yield f"## {escaped(view.title)}"
    for answer in view.answers:
        yield f"**{escaped(answer)}**"
    if view.where:
        yield escaped(view.where)
    if view.warnings:
        yield "\n".join(["> [!WARNING]", *(f"> - {escaped(each)}" for each in view.warnings)])
    if figures := list(view.key_figures()):
        yield "\n".join(map(_key_figure, figures))
    if link:
        for each in view.pictures():
            where = quote(link(each), errors="surrogateescape")  # the bytes of the name as it is
            yield f"![{escaped(each.drawing.title)}: {escaped(each.description)}]({where})"
    for table in view.parts(_WIDE):
        yield from _table(table)
    yield from map(escaped, view.remarks)
    if view.facts:
        yield _list(view.facts)
    if view.environment:
        yield from _folded("How this was measured", _list(view.environment))


def _key_figure(each: KeyFigure) -> str:
    remark = f" ({escaped(each.remark)})" if each.remark else ""
    return f"- {escaped(each.title)}: **{escaped(each.value)}**{remark}"


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {escaped(name)}: {escaped(text)}" for name, text in facts.items())


def _table(table: Printed) -> Iterator[str]:
    columns = table.columns
    lines = [
        _line([escaped(column.heading_text) for column in columns]),
        "|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|",
    ]
    for heading, rows in table.groups:
        if heading:
            lines.append(_line([f"**{escaped(heading)}**", *[""] * (len(columns) - 1)]))
        lines += [_line([_cell(*each) for each in zip(row, columns, strict=True)]) for row in rows]
    body = "\n".join(lines)
    if table.folded:
        yield from _folded(table.caption, body)
    else:
        if table.caption:
            yield f"### {escaped(table.caption)}"
        yield body
    if table.note:
        yield escaped(table.note)


def _folded(title: str, body: str) -> Iterator[str]:
    yield from (f"<details><summary>{escaped(title)}</summary>", body, "</details>")


def _cell(cell: Cell, column: Column) -> str:
    """Return a cell; an interval never breaks over two lines."""
    text = "<br>".join(map(escaped, cell.text.split("\n")))
    if column.numeric:
        text = text.replace("–", "\u2060–\u2060").replace(" ", "\u00a0")
    return f"**{text}**" if cell.tone == "bad" else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
