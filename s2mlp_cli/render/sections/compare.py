"""The section of a comparison."""

from __future__ import annotations

from s2mlp_cli.records.compare import CompareRecord
from s2mlp_cli.render import compare
from s2mlp_cli.render.document import Column, Section, Table
from s2mlp_cli.render.sections.environment import facts


def section(record: CompareRecord) -> Section:
    """Return the section: what differs in the surroundings stands before the rows."""
    tables = [_environments(record)] if record.environments else []
    if record.results:
        tables.append(_rows(record))
    return Section(
        title=f"Comparison of {record.compared} records",
        answer=compare.answer(record),
        tables=tuple(tables),
        remarks=(*compare.lone_lines(record), *compare.notes(record)),
        facts=facts(record),
    )


def _environments(record: CompareRecord) -> Table:
    return Table(
        caption="Measured under different conditions",
        columns=(Column("What"), *map(Column, compare.source_names(record))),
        rows=tuple((each.what, *each.values) for each in record.environments),
    )


def _rows(record: CompareRecord) -> Table:
    series = len(record.sources) > 2
    return Table(
        caption="Row by row",
        columns=(
            Column("Row"),
            Column("Quantity"),
            *map(Column, compare.source_names(record)),
            *([Column("Trend")] if series else []),
            Column("Speed or change"),
            Column("Verdict", tones=compare.STYLES),
        ),
        rows=tuple(
            (
                row.row,
                row.quantity,
                *(compare.shown(value, row.unit) for value in row.values),
                *([compare.sparkline(row.values)] if series else []),
                compare.change(row),
                row.verdict,
            )
            for row in record.results
        ),
    )
