"""The record of ``s2mlp compare``: saved measurements side by side, row by row."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import model_validator
from typing_extensions import Self

from s2mlp_cli.records.base import Frozen, Record

# Of the last source against the first. Faster, slower, better and worse are said only when the
# whole 95 % interval, or McNemar's test, says so.
Judgement = Literal[
    "faster", "slower", "better", "worse", "undecided", "equal", "less", "more", "differs"
]

# Seconds, bytes, a plain number, a fraction of one, or words.
Unit = Literal["s", "B", "1", "share", "text"]


class Source(Frozen):
    """A file that was compared, or a folder of records of several kinds."""

    path: str
    schema_name: str
    created: datetime | None = None


class EnvironmentDifference(Frozen):
    """Something that was not the same everywhere; one value per source, None where unknown."""

    what: str
    values: tuple[str | None, ...]


class Ratio(Frozen):
    """A speed relative to another's: 2 means that the last takes half the time of the first."""

    value: float
    ci95: tuple[float, float] | None = None


class ComparedRow(Frozen):
    """One quantity of one row that at least two sources have.

    Attributes:
        values: one per source, in their order; None where a source lacks it.
        intervals: the 95 % interval of each value, where one is known.
        ratio: of the speeds, for times.
        relative_to: the implementation whose time in the same rounds these times were divided by
            before they were judged; None where the times themselves are.
        widened: the interval of the ratio is, for under 20 samples or samples that follow each
            other.
        p_value: of McNemar's test, where both sides kept their images.
    """

    row: str
    quantity: str
    unit: Unit
    values: tuple[float | int | str | None, ...]
    intervals: tuple[tuple[float, float] | None, ...] = ()
    ratio: Ratio | None = None
    relative_to: str | None = None
    widened: bool = False
    p_value: float | None = None
    verdict: Judgement


class NoLongerTimed(Frozen):
    """A time that an earlier source has, and the last has not, for this reason."""

    row: str
    quantity: str
    reason: str


class OnlyIn(Frozen):
    """A row that not every source has; ``present`` says which."""

    row: str
    present: tuple[bool, ...]


class CompareRecord(Record):
    """Two records, or a series of them: the last is judged against the first.

    Attributes:
        compared: the kinds that all sources have, with commas between.
        lone: the rows that some source lacks.
        fail_slower: the fraction of the first time by which a row may be slower; None without a
            gate.
        remarks: what could not be judged, and why, in sentences.
    """

    kind: ClassVar[str] = "compare"

    compared: str
    sources: tuple[Source, ...]
    environments: tuple[EnvironmentDifference, ...] = ()
    lone: tuple[OnlyIn, ...] = ()
    no_longer_timed: tuple[NoLongerTimed, ...] = ()
    fail_slower: float | None = None
    remarks: tuple[str, ...] = ()
    results: tuple[ComparedRow, ...]

    @model_validator(mode="after")
    def _one_value_per_source(self) -> Self:
        columns = [
            *(row.values for row in self.results),
            *(row.intervals or row.values for row in self.results),
            *(each.values for each in self.environments),
            *(each.present for each in self.lone),
        ]
        if any(len(column) != len(self.sources) for column in columns):
            raise ValueError(f"not one value for each of the {len(self.sources)} sources")
        if any(set(row.values) == {None} for row in self.results):
            raise ValueError("a row that no source has")
        return self

    @property
    def gated(self) -> tuple[ComparedRow, ...]:
        """The timed rows of the last source: those that a gate is about."""
        return tuple(row for row in self.results if row.ratio and row.values[-1] is not None)

    @property
    def unjudged(self) -> tuple[ComparedRow, ...]:
        """The rows that no gate can judge: without an interval, nothing is sure."""
        return tuple(row for row in self.gated if row.ratio and row.ratio.ci95 is None)

    @property
    def failed(self) -> bool:
        """Whether a gate fails: a row is slower than allowed, or no longer runs."""
        return self.fail_slower is not None and bool(self.too_slow or self.no_longer_timed)

    @property
    def too_slow(self) -> tuple[ComparedRow, ...]:
        """The rows of the last source that are slower than allowed with their whole interval."""
        if self.fail_slower is None:
            return ()
        limit = 1 / (1 + self.fail_slower)
        judged = ((row, row.ratio) for row in self.gated)
        return tuple(row for row, ratio in judged if ratio and ratio.ci95 and ratio.ci95[1] < limit)
