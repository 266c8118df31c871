"""Accuracy over cost: what the papers print of every family, and what was measured here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from s2mlp_cli.papers import published_for, published_rows
from s2mlp_cli.papers.published import Row
from s2mlp_cli.papers.verdicts import parse
from s2mlp_cli.records.audit import AuditRecord
from s2mlp_cli.records.base import Record
from s2mlp_cli.records.count import CountRecord
from s2mlp_cli.records.validate import ValidateRecord, ValidateResult
from s2mlp_cli.views.document import Column, Number, Picture, Section, Table, Tone
from s2mlp_cli.views.pictures import accuracy
from s2mlp_cli.views.pictures.accuracy import Point

# Paper -> its tables whose accuracies are on ImageNet-1K (v1's others are on 100 classes); every
# table of a paper that is not listed is.
_IMAGENET_1K = {"v1": ("3",), "v2": ("2", "5")}

# Family -> how the names of its specs begin.
_FAMILIES = {
    "S2-MLP": ("v1-",),
    "S2-MLPv2": ("v2-",),
    "other MLPs": ("mixer-", "resmlp-", "gmlp-", "vip-"),
    "Fourier": ("gfnet-",),
    "attention": ("vit-", "deit-", "pit-", "tnt-", "swin-", "nest-", "pvtv2-"),
    "convolution": ("resnet", "regnety-", "efficientnet-"),
}

_CLASSES = 1000
_TONES: dict[str, Tone] = {"measured": "good", "published": "quiet"}


def section(records: Sequence[Record]) -> Section | None:
    """Return the section; None where nothing among the records asks for it."""
    measured = list(_measured(records))
    if not measured and not any(isinstance(record, AuditRecord) for record in records):
        return None
    points = [*_published(), *measured]
    best = max(points, key=lambda point: point.top1)
    return Section(
        title="Accuracy over cost",
        answer=f"{len(points)} results on ImageNet-1K, {len(measured)} of them measured here; "
        f"the highest top-1 is {best.top1:.1f} % ({best.label}).",
        pictures=(
            Picture(
                name="accuracy",
                title="Top-1 over multiply-adds and over parameters",
                description="Points of top-1 accuracy over multiply-adds and over parameters, "
                f"one mark for each of {len({point.family for point in points})} families.",
                draw=partial(accuracy.svg, points),
            ),
        ),
        tables=(_table(points),),
        remarks=(
            "Hollow marks are published figures, filled ones were measured here: at the cost that "
            "a count among these records gives, else at the published one.",
        ),
    )


def _published() -> Iterator[Point]:
    """Yield what the papers print, every model once."""
    seen = set()
    for paper, table, row in published_rows("v1", "v2", "baselines"):
        if table not in _IMAGENET_1K.get(paper.name, (table,)) or row.model in seen:
            continue
        cost = _printed_cost(row)
        if cost and row.top1 is not None:
            seen.add(row.model)
            macs, params = cost
            yield Point(_family(row.model), row.row, macs, params, row.top1)


def _printed_cost(row: Row) -> tuple[float, float] | None:
    """Return (multiply-adds, parameters) as printed; None where one of them is not."""
    if row.params is None or row.flops is None:
        return None
    return _value(row.flops.printed), _value(row.params.printed)


def _value(printed: str) -> float:
    figure = parse(printed)
    return float(figure.value) * {"M": 1e6, "B": 1e9, "G": 1e9}[figure.unit]


def _family(model: str) -> str:
    return next(
        (family for family, starts in _FAMILIES.items() if model.startswith(starts)), "others"
    )


def _measured(records: Sequence[Record]) -> Iterator[Point]:
    """Yield the validated models at the cost that a record counted, else at the published one."""
    counted = {
        result.model: (result.macs_matmul / result.batch_size, result.params)
        for record in records
        if isinstance(record, CountRecord)
        for result in record.results
    }
    for result in _validated(records):
        cost = counted.get(result.model) or _published_cost(result.model)
        if cost:
            macs, params = cost
            top1 = 100 * result.top1
            yield Point(_family(result.model), result.model, macs, params, top1, measured=True)


def _published_cost(model: str) -> tuple[float, float] | None:
    costs = (_printed_cost(found.row) for found in published_for(model))
    return next((cost for cost in costs if cost), None)


def _validated(records: Sequence[Record]) -> Iterator[ValidateResult]:
    for record in records:
        if isinstance(record, ValidateRecord):
            yield from (result for result in record.results if result.data.classes == _CLASSES)


def _table(points: Sequence[Point]) -> Table:
    return Table(
        caption="Models",
        columns=(
            Column("Model"),
            Column("Family"),
            Column("Top-1", "{:.2f}".format, "%", numeric=True),
            Number("MACs", unit="G", scale=1e9, digits=3, bar=True),
            Number("Parameters", unit="M", scale=1e6, digits=3, bar=True),
            Column("Source", tones=_TONES),
        ),
        rows=tuple(
            (
                point.label,
                point.family,
                point.top1,
                point.macs,
                point.params,
                "measured" if point.measured else "published",
            )
            for point in sorted(points, key=lambda point: -point.top1)
        ),
        folded=True,
    )
