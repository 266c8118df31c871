"""The figures that the papers print, cell by cell: ``published.yaml`` as frozen data.

The file has what is printed, the convention that each paper counts by, the reading that
explains a cell where the plain one does not, and the expected verdict. Verdicts are always
computed (:mod:`s2mlp_cli.papers.verdicts`) and then compared with the expected one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import BeforeValidator, Field

from s2mlp_cli.papers.verdicts import FIGURE, Correction, LeftOut
from s2mlp_cli.records.audit import Agreement, Quantity
from s2mlp_cli.records.base import Frozen


class Cell(Frozen):
    """One printed figure; everything but plain agreement has a reason."""

    printed: str = Field(pattern=rf"^{FIGURE}$")
    verdict: Agreement = "agrees"
    correction: Correction | None = None
    reason: str = ""


# In the file, ``71M`` means a cell that plainly agrees.
PlainCell = Annotated[
    Cell, BeforeValidator(lambda cell: {"printed": cell} if isinstance(cell, str) else cell)
]


class Row(Frozen):
    """One row of a table.

    Attributes:
        row: its label.
        model: the name of the spec that it describes.
        timm: the model's name in timm, where it is there.
        top1: accuracy in percent, as is ``top5``.
    """

    row: str
    model: str
    timm: str | None = None
    params: PlainCell | None = None
    flops: PlainCell | None = None
    top1: float | None = None
    top5: float | None = None

    def cells(self) -> Iterator[tuple[Quantity, Cell]]:
        """Yield the figures that this row prints, parameters first."""
        if self.params:
            yield "params", self.params
        if self.flops:
            yield "flops", self.flops


class Paper(Frozen):
    """One paper and the convention that it counts by.

    Attributes:
        leaves_out: quantity -> the parts that its figures leave out.
        binary_units: whether some of its figures are in units of 2^20 and 2^30.
        tables: number -> rows.
    """

    name: str
    title: str
    source: str
    leaves_out: dict[Quantity, tuple[LeftOut, ...]]
    binary_units: bool
    tables: dict[str, tuple[Row, ...]]


class PublishedRow(NamedTuple):
    """A row with its paper and table."""

    paper: Paper
    table: str
    row: Row


@functools.cache
def papers() -> dict[str, Paper]:
    """Return the papers by name: ``v1``, ``v2``, ``baselines``."""
    text = Path(__file__).with_name("published.yaml").read_text(encoding="utf-8")
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {name: Paper(name=name, **fields) for name, fields in data.items()}


def published_rows(*names: str) -> Iterator[PublishedRow]:
    """Yield the rows of the papers called ``names``, in the papers' order."""
    for name in names:
        paper = papers()[name]
        for table, rows in paper.tables.items():
            for row in rows:
                yield PublishedRow(paper, table, row)


def published_for(model: str) -> tuple[PublishedRow, ...]:
    """Return every row of every paper that describes the spec called ``model``."""
    return tuple(found for found in published_rows(*papers()) if found.row.model == model)


# Paper -> its tables whose accuracies are on ImageNet-1K (v1's others are on 100 classes); of a
# paper that is not listed, all are.
_IMAGENET_1K = {"v1": ("3",), "v2": ("2", "5")}


def imagenet_top1(published: PublishedRow) -> float | None:
    """Return the top-1 on ImageNet-1K in percent that a row prints, if it does."""
    known = _IMAGENET_1K.get(published.paper.name, (published.table,))
    return published.row.top1 if published.table in known else None
