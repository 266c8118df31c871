"""Plain rows under a header, and the two texts that are made from them: CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sheet:
    """A table of raw values: one header, rows of the same length. None is an empty cell."""

    header: tuple[str, ...]
    rows: tuple[Sequence[object], ...]


def to_csv(sheet: Sheet) -> str:
    """Return the sheet as CSV: RFC 4180 quoting, and plain newlines."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(sheet.header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in sheet.rows)
    return stream.getvalue()


def to_markdown(sheet: Sheet) -> str:
    """Return the sheet as a GitHub table; columns of numbers are aligned to the right."""
    marks = [_alignment([row[column] for row in sheet.rows]) for column in range(len(sheet.header))]
    lines = [_line(sheet.header), "|" + "|".join(marks) + "|", *map(_line, sheet.rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _alignment(cells: Sequence[object]) -> str:
    present = [cell for cell in cells if cell is not None]
    numeric = bool(present) and all(isinstance(cell, (int, float)) for cell in present)
    return "---:" if numeric else "---"
