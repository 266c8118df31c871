"""The raw values of a record as CSV and as a Markdown table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from s2mlp_cli.views.document import Sheet


def to_csv(sheet: Sheet) -> str:
    """Return the sheet as CSV: RFC 4180 quoting, and plain newlines."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(sheet.header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in sheet.rows)
    return stream.getvalue()


def to_markdown(sheet: Sheet) -> str:
    """Return the sheet as a GitHub table; columns of numbers are aligned to the right."""
    marks = ["---:" if numeric else "---" for numeric in numeric_columns(sheet)]
    lines = [_line(sheet.header), "|" + "|".join(marks) + "|", *map(_line, sheet.rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[object]) -> str:
    escaped = (text(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(escaped) + " |"


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
