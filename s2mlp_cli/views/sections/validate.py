"""The section of a validation: the scores, what they were measured on, and what is hard."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from s2mlp_cli import units
from s2mlp_cli.records.validate import Interval, ValidateRecord, ValidateResult
from s2mlp_cli.views.document import Column, Figure, Number, Picture, Section, Table, listed
from s2mlp_cli.views.pictures import classes
from s2mlp_cli.views.sections.answer import answer
from s2mlp_cli.views.sections.environment import facts
from s2mlp_cli.views.validate import triple


def section(record: ValidateRecord) -> Section:
    """Return the section."""
    first = record.results[0]
    return Section(
        title="Accuracy: " + listed((each.model for each in record.results), "models"),
        answer=answer(record),
        figures=_figures(first) if len(record.results) == 1 else (),
        pictures=tuple(_picture(result) for result in record.results if result.per_class),
        tables=tuple(table for result in record.results for table in _tables(result)),
        remarks=tuple(remark for result in record.results for remark in result.remarks),
        facts={**_data_facts(first), **facts(record)},
    )


def _figures(result: ValidateResult) -> tuple[Figure, ...]:
    figures = [
        Figure("Top-1", f"{result.top1:.2%}", _range(result.top1_interval)),
        Figure("Top-5", f"{result.top5:.2%}", _range(result.top5_interval)),
        Figure("Images", f"{result.images:,}", result.data.form),
        Figure("Speed", units.significant(result.images_per_s), f"images/s on {result.device}"),
    ]
    if result.failures:
        figures.append(Figure("Broken", str(len(result.failures)), "counted in no score", "warn"))
    return tuple(figures)


def _range(interval: Interval) -> str:
    return f"95 %: {100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def _data_facts(result: ValidateResult) -> dict[str, str]:
    return {
        "Checkpoint": f"{result.ckpt.path} ({result.ckpt.form}, {result.ckpt.taken})",
        "SHA-256": result.ckpt.sha256,
        "Data": f"{result.data.path}: {result.data.form}, labels from {result.data.labels}",
        "Fingerprint": result.data.fingerprint,
        "Transform": f"{result.preprocessing.transform}, {result.preprocessing.interpolation}, "
        f"crop {result.preprocessing.crop_pct:g} to "
        + "×".join(map(str, result.preprocessing.input_size)),
        "Normalisation": f"mean {triple(result.preprocessing.mean)}, "
        f"std {triple(result.preprocessing.std)}",
        "Network": ", ".join(_network(result)),
    }


def _network(result: ValidateResult) -> Iterator[str]:
    if result.shift is not None:
        yield f"shift {result.shift}"
    yield f"{result.dtype}, batch {result.batch_size}"
    if result.compiled:
        yield "compiled"
    if result.channels_last:
        yield "channels-last"


def _picture(result: ValidateResult) -> Picture:
    shares = [
        (each.name or str(each.label), each.correct1 / each.images) for each in result.per_class
    ]
    hardest = min(shares, key=lambda each: each[1])
    return Picture(
        name=f"classes-{result.model}",
        title="Accuracy of every class",
        description=f"Top-1 of {len(shares)} classes; the hardest is {hardest[0]} with "
        f"{hardest[1]:.1%}.",
        draw=partial(classes.svg, shares, result.top1),
    )


def _tables(result: ValidateResult) -> Iterator[Table]:
    yield _scores(result)
    if result.per_class:
        yield _classes(result)
    if result.confusions:
        yield _confusions(result)
    yield _calibration(result)
    if result.label_orders:
        yield Table(
            caption="Label orders",
            columns=(Column("Order"), Column("Right", numeric=True), _percents("Top-1")),
            rows=tuple((each.order, each.correct1, each.top1) for each in result.label_orders),
        )
    if result.failures:
        yield Table(
            caption="Images that could not be decoded",
            columns=(Column("Image"), Column("Why", prose=True)),
            rows=tuple((each.name, each.reason) for each in result.failures),
            folded=len(result.failures) > 10,
        )


def _percents(title: str) -> Column:
    return Column(title, lambda share: f"{100 * share:.2f}", "%", numeric=True)


def _scores(result: ValidateResult) -> Table:
    printed = result.published
    whose = printed.model if printed and printed.model != result.model else None
    rows: list[tuple[object, ...]] = [
        ("top-1", result.top1, *result.top1_interval, _share(printed.top1 if printed else None)),
        ("top-5", result.top5, *result.top5_interval, _share(printed.top5 if printed else None)),
    ]
    if result.real:
        rows.append(("ReaL top-1", result.real.top1, *result.real.top1_interval, None))
    loss = "" if result.loss is None else f"Loss {result.loss:.4f} nats; "
    return Table(
        caption=f"{result.model}: scores",
        columns=(
            Column("Score"),
            _percents("Value"),
            _percents("95 % from"),
            _percents("to"),
            _percents("Published" if whose is None else f"Published for {whose}"),
        ),
        rows=tuple(rows),
        note=f"{loss}expected calibration error {result.ece:.4f}.",
    )


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _classes(result: ValidateResult) -> Table:
    return Table(
        caption=f"{result.model}: classes",
        columns=(
            Column("Class"),
            Column("Label", numeric=True),
            Column("Images", numeric=True),
            _percents("Top-1"),
            _percents("Top-5"),
        ),
        rows=tuple(
            (
                each.name or str(each.label),
                each.label,
                each.images,
                each.correct1 / each.images,
                each.correct5 / each.images,
            )
            for each in result.per_class
        ),
        folded=True,
    )


def _confusions(result: ValidateResult) -> Table:
    return Table(
        caption=f"{result.model}: most confused",
        columns=(Column("Class"), Column("taken for"), Number("Images", bar=True)),
        rows=tuple(
            (
                each.label_name or str(each.label),
                each.predicted_name or str(each.predicted),
                each.images,
            )
            for each in result.confusions
        ),
    )


def _calibration(result: ValidateResult) -> Table:
    return Table(
        caption=f"{result.model}: calibration",
        columns=(
            Column("Probability"),
            Column("Images", numeric=True),
            _percents("Mean probability"),
            _percents("Right"),
        ),
        rows=tuple(
            (f"{each.low:.2f} to {each.high:.2f}", each.images, each.confidence,
             each.correct1 / each.images)
            for each in result.calibration
        ),
        folded=True,
    )  # fmt: skip
