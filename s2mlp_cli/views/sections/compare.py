"""The section of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby

from s2mlp_cli.records.compare import ComparedRow, CompareRecord
from s2mlp_cli.views import compare
from s2mlp_cli.views.document import Cell, Column, Picture, Section, Table, listed
from s2mlp_cli.views.pictures import trend
from s2mlp_cli.views.sections.environment import facts

# Rows in the picture of a trend.
MOST_LINES = 6


def section(record: CompareRecord) -> Section:
    """Return the section: what differs in the surroundings stands before the rows."""
    return Section(
        title=f"Comparison of {record.compared} records: "
        + listed(compare.source_names(record), "records"),
        answer=compare.answer(record),
        pictures=_trend(record),
        tables=(*_environments(record), *_rows(record)),
        remarks=(
            *compare.gate_lines(record),
            *compare.lone_lines(record),
            *record.remarks,
            *compare.notes(record),
        ),
        facts=facts(record),
    )


def _trend(record: CompareRecord) -> tuple[Picture, ...]:
    """Return the picture of a series: the rows that moved most."""
    series = [(row, _numbers(row)) for row in record.results if _moved(row)]
    if len(record.sources) < 3 or not series:
        return ()
    largest = sorted(series, key=lambda each: -_moved(each[0]))[:MOST_LINES]
    lines = {f"{row.row}: {row.quantity}": values for row, values in largest}
    return (
        Picture(
            name="trend",
            title="What moved most",
            description=f"Lines of the change in percent of {len(lines)} rows over "
            f"{len(record.sources)} records.",
            draw=partial(trend.svg, compare.source_names(record), lines),
        ),
    )


def _numbers(row: ComparedRow) -> list[float | None]:
    return [None if isinstance(value, str) else value for value in row.values]


def _moved(row: ComparedRow) -> float:
    """Return how far the values lie apart, as a part of the largest."""
    known = [value for value in _numbers(row) if value is not None]
    return (max(known) - min(known)) / max(known) if known and max(known) > 0 else 0.0


def _environments(record: CompareRecord) -> Iterator[Table]:
    if record.environments:
        yield Table(
            caption="Measured under different conditions",
            columns=(Column("What"), *map(Column, compare.source_names(record))),
            rows=tuple((each.what, *each.values) for each in record.environments),
        )


def _rows(record: CompareRecord) -> Iterator[Table]:
    """Yield a table of quantities for each row."""
    series = len(record.sources) > 2
    columns = (
        Column("Quantity"),
        *(Column(name, numeric=True) for name in compare.source_names(record)),
        *([Column("Trend")] if series else []),
        Column("Speed or change", numeric=True),
        Column("Verdict", tones=compare.STYLES),
    )
    for name, rows in groupby(record.results, lambda row: row.row):
        lines = (
            (
                row.quantity,
                *(_value(row, value) for value in row.values),
                *([compare.sparkline(row.values)] if series else []),
                compare.change(row),
                row.verdict,
            )
            for row in rows
        )
        yield Table(caption=name, columns=columns, rows=tuple(lines))


def _value(row: ComparedRow, value: float | int | str | None) -> Cell:
    return Cell(value, compare.shown(value, row.unit))
