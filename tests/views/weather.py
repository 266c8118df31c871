"""A made-up kind of record: all that one needs but a line in the table of kinds."""

from typing import ClassVar

from s2mlp_cli.records.base import Record
from s2mlp_cli.views.document import Column, Picture, Sheet, Table, View
from s2mlp_cli.views.svg import bars


class WeatherRecord(Record):
    kind: ClassVar[str] = "weather"
    results: tuple[tuple[str, float], ...]


def view(record):
    return View(
        title="Weather",
        answers=(f"{record.results[0][0]} has {record.results[0][1]} degrees.",),
        tables=(Table("Towns", (Column("Town"), Column("Degrees", numeric=True)), record.results),),
        warnings=("It may rain.",),
        pictures=lambda: pictures(record),
        details=lambda: details(record),
    )


def sheet(record):
    return Sheet(("town", "degrees"), record.results)


def pictures(record):
    towns = {town: {"now": degrees} for town, degrees in record.results}
    yield Picture("towns", "Bars of degrees.", bars.grouped(towns, "degrees", "Towns"))


def details(record):
    yield Table("Wind", (Column("Town"), Column("Wind")), (("Basel", "calm"),))
