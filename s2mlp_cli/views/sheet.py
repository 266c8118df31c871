"""The raw values of a record as CSV and as a Markdown table."""

from __future__ import annotations

import csv
import io
import re

from s2mlp_cli.views.document import Sheet, readable


def to_csv(sheet: Sheet) -> str:
    """Return the sheet as CSV: RFC 4180 quoting, and plain newlines."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_raw(cell) for cell in row] for row in (sheet.header, *sheet.rows))
    return stream.getvalue()


def _raw(cell: object) -> object:
    """Return a value as CSV has it; a terminal may be what reads it."""
    return readable(cell) if isinstance(cell, str) else "" if cell is None else cell


def to_markdown(sheet: Sheet) -> str:
    """Return the sheet as a GitHub table; columns of numbers are aligned to the right."""
    marks = ["---:" if numeric else "---" for numeric in numeric_columns(sheet)]
    lines = ([escaped(text(cell)) for cell in row] for row in (sheet.header, *sheet.rows))
    head, *rows = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, f"|{'|'.join(marks)}|", *rows]) + "\n"


def escaped(words: str) -> str:
    """Return text that Markdown shows as it is, on one line: no mark-up, no HTML."""
    flat = readable(re.sub(r"[^\S\u00a0]+", " ", words))  # no-break spaces indent
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", flat).replace("&", "&amp;")


def text(value: object) -> str:
    """Return a raw value in six digits; None is empty."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def numeric_columns(sheet: Sheet) -> list[bool]:
    """Return for each column whether it holds numbers only, and any at all."""
    columns = ([row[place] for row in sheet.rows] for place in range(len(sheet.header)))
    present = ([cell for cell in column if cell is not None] for column in columns)
    return [bool(cells) and all(isinstance(c, (int, float)) for c in cells) for cells in present]
