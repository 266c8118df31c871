"""The tables of views as LaTeX, for papers; they need the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from s2mlp_cli.errors import visible
from s2mlp_cli.views.document import Column, Printed, View, readable

# Letters of a table that fit across a page.
_WIDE = 100

_ESCAPES = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
    "µ": r"$\mu$",
    "–": "--",
    "…": r"\dots{}",
    "\u00a0": "~",
}


def document(views: Sequence[View], details: bool = True) -> str:
    """Return one ``table`` for each table, after a comment that says what it is of.

    Args:
        views: the views, in order.
        details: whether to include secondary tables.
    """
    lines = ["% \\usepackage{booktabs}"]
    for view in views:
        lines += ["", *(f"% {visible(line)}" for line in (view.title, *view.answers))]
        for table in view.parts(_WIDE, details):
            lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def _table(table: Printed) -> Iterator[str]:
    caption = ". ".join(filter(None, [table.caption, table.note]))
    yield r"\begin{table}"
    yield r"\centering"
    if caption:
        yield rf"\caption{{{escaped(caption)}}}"
    yield rf"\begin{{tabular}}{{{''.join(map(_alignment, table.columns))}}}"
    yield r"\toprule"
    yield _row([column.heading_text for column in table.columns])
    yield r"\midrule"
    for heading, rows in table.groups:
        if heading:
            yield rf"\multicolumn{{{len(table.columns)}}}{{l}}{{{escaped(heading)}}} \\"
        for row in rows:
            yield _row([cell.text for cell in row])
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _alignment(column: Column) -> str:
    return "r" if column.numeric else "p{7cm}" if column.prose else "l"


def _row(texts: Sequence[str]) -> str:
    return " & ".join(map(escaped, texts)) + r" \\"


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is, on one line."""
    flat = re.sub(r"\s*\n\s*", "; ", readable(text))
    return "".join(_ESCAPES.get(letter, letter) for letter in flat)
