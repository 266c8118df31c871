"""Sections as Markdown for GitHub: pictures are files beside it, long tables are folded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from s2mlp_cli.views.document import Cell, Column, Picture, Section, Table


def document(sections: Sequence[Section], title: str, link: Callable[[Picture], str] | None) -> str:
    """Return the document.

    Args:
        sections: the parts, in order.
        title: the heading of the whole.
        link: says where a picture's file is, relative to the document; None leaves pictures out.
    """
    parts = [f"# {_text(title)}"]
    for each in sections:
        parts += _section(each, link)
    return "\n\n".join(parts) + "\n"


def _section(section: Section, link: Callable[[Picture], str] | None) -> list[str]:
    parts = [f"## {_text(section.title)}", f"**{_text(section.answer)}**"]
    if section.figures:
        parts.append("\n".join(_figure(*each) for each in _figures(section)))
    if link:
        parts += [f"![{_text(each.description)}]({quote(link(each))})" for each in section.pictures]
    for table in section.tables:
        parts += _table(table)
    parts += [_text(remark) for remark in section.remarks]
    if section.facts:
        facts = "\n".join(f"- {name}: {_text(text)}" for name, text in section.facts.items())
        parts += _folded("How this was measured", facts)
    return parts


def _figures(section: Section) -> list[tuple[str, str, str]]:
    return [(each.title, each.value, each.remark) for each in section.figures]


def _figure(title: str, value: str, remark: str) -> str:
    return f"- {_text(title)}: **{_text(value)}**" + (f" ({_text(remark)})" if remark else "")


def _table(table: Table) -> list[str]:
    lines = [
        _line([_heading(column) for column in table.columns]),
        "|" + "|".join("---:" if column.numeric else "---" for column in table.columns) + "|",
        *(_line([_cell(cell) for cell in row]) for row in table.cells()),
    ]
    body = "\n".join(lines)
    parts = _folded(table.caption, body) if table.folded else [f"### {_text(table.caption)}", body]
    return [*parts, _text(table.note)] if table.note else parts


def _folded(title: str, body: str) -> list[str]:
    return [f"<details><summary>{_text(title)}</summary>", body, "</details>"]


def _heading(column: Column) -> str:
    return _text(column.title) + (f" ({column.unit})" if column.unit else "")


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    return f"**{text}**" if cell.tone == "bad" else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    escaped = re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;")
