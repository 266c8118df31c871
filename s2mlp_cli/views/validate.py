"""``validate``: the scores, what they were measured on, and what is hard."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import PurePath

from s2mlp_cli import units
from s2mlp_cli.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from s2mlp_cli.records.validate import (
    Confusion,
    Interval,
    Mistake,
    ValidateRecord,
    ValidateResult,
)
from s2mlp_cli.views.document import (
    Column,
    KeyFigure,
    KnownModel,
    Number,
    Picture,
    Sheet,
    Table,
    View,
    listed,
    percentage,
    plural,
)
from s2mlp_cli.views.svg import bars, lines, thumbnails

_SHOWN_FAILURES, _FEW_FAILURES = 5, 10
# Classes of a set whose accuracies can be compared with the papers'.
_IMAGENET_CLASSES = 1000

# shift -> what has to be in the headline, because the score is not that of the model.
_MARKED: dict[str | None, str] = {
    "inplace": " with the in-place shift, which is NOT a spatial shift",
    "none": " with its shifts taken out",
}


def view(record: ValidateRecord) -> View:
    """Return the view."""
    first, *others = record.results
    facts = {
        f"{_name(result)}: {name}" if others else name: text
        for result in record.results
        for name, text in _facts(result)
    }
    return View(
        title="Accuracy: " + listed(map(_name, record.results), "models"),
        answers=tuple(
            f"{_name(result)}{_MARKED.get(result.shift, '')}: top-1 {result.top1:.2%} on "
            f"{plural(result.images, 'image')} ({result.correct1:,} correct)"
            for result in record.results
        ),
        key_figures=tuple if others else partial(_key_figures, first),
        pictures=lambda: chain.from_iterable(map(_pictures, record.results)),
        tables=tuple(table for result in record.results for table in _tables(result)),
        details=lambda: chain.from_iterable(map(_details, record.results)),
        warnings=tuple(remark for result in record.results for remark in result.remarks),
        facts=facts,
        environment={}
        if others
        else {"SHA-256": first.ckpt.sha256, "Fingerprint": first.data.fingerprint},
        models=lambda: [
            KnownModel(result.model, _name(result), top1=100 * result.top1, measured=True)
            for result in record.results
            if result.data.classes == _IMAGENET_CLASSES
        ],
    )


def _name(result: ValidateResult) -> str:
    """Return the model, and the checkpoint that tells it from others of its name."""
    file = PurePath(result.ckpt.path)
    exported = result.source is not None and result.source.kind == "exported"
    plain = result.model in (file.name, "" if exported else file.stem)
    return result.model if plain else f"{result.model} ({file.name})"


def _key_figures(result: ValidateResult) -> Iterator[KeyFigure]:
    yield KeyFigure("Top-1", f"{result.top1:.2%}", f"95 %: {_range(result.top1_interval)}")
    yield KeyFigure("Top-5", f"{result.top5:.2%}", f"95 %: {_range(result.top5_interval)}")
    yield KeyFigure("Images", f"{result.images:,}", result.data.form)
    speed = units.significant(result.images_per_s)
    yield KeyFigure("Speed", speed, f"images/s on {result.device}, reading included")
    if result.failures:
        yield KeyFigure("Not decoded", str(len(result.failures)), "images, in no score", "warn")


def _range(interval: Interval) -> str:
    return f"{interval[0]:.2%}–{interval[1]:.2%}"


def _tables(result: ValidateResult) -> Iterator[Table]:
    yield _scores(result)
    yield Table(
        caption=f"{_name(result)}: classes",
        columns=(
            Column("Class"), Column("Label", numeric=True), Number("Images"),
            percentage("Top-1", 2), percentage("Top-5", 2),
        ),
        rows=tuple(
            (each.name or str(each.label), each.label, each.images,
             each.correct1 / each.images, each.correct5 / each.images)
            for each in result.per_class
        ),
        preview=len(result.per_class),
    )  # fmt: skip
    yield Table(
        caption=f"{_name(result)}: most confused classes",
        columns=(Column("Class"), Column("Predicted as"), Number("Images", bar=True)),
        rows=tuple((*_pair(each), each.images) for each in result.confusions),
    )
    yield Table(
        caption="If the classes were in another order",
        columns=(Column("Order"), Column("Correct", numeric=True), percentage("Top-1", 2)),
        rows=tuple((each.order, each.correct1, each.top1) for each in result.label_orders),
    )
    broken = len(result.failures)
    yield Table(
        caption="Images that cannot be decoded, in no score",
        columns=(Column("Image"), Column("Why", prose=True)),
        rows=tuple((each.name, each.reason) for each in result.failures),
        preview=_SHOWN_FAILURES if broken > _FEW_FAILURES else None,
    )


def _details(result: ValidateResult) -> Iterator[Table]:
    yield Table(
        caption=f"{_name(result)}: most confident mistakes",
        columns=(
            Column("Image"), Column("Class"), Column("Predicted as"), percentage("Probability", 2),
        ),
        rows=tuple((each.name, *_pair(each), each.confidence) for each in result.mistakes),
    )  # fmt: skip
    yield Table(
        caption=f"{_name(result)}: calibration",
        columns=(
            Column("Probability"), Number("Images"), percentage("Mean probability", 2),
            percentage("Correct", 2),
        ),
        rows=tuple(
            (f"{each.low:.2f} to {each.high:.2f}", each.images, each.confidence,
             each.correct1 / each.images)
            for each in result.calibration
        ),
    )  # fmt: skip


def _scores(result: ValidateResult) -> Table:
    printed = result.published
    whose = printed.model if printed and printed.model not in (None, result.model) else None
    rows: list[tuple[object, ...]] = [
        ("top-1", f"{result.top1:.2%}", _range(result.top1_interval),
         f"{printed.top1:.1f}%" if printed and printed.top1 is not None else None),
        ("top-5", f"{result.top5:.2%}", _range(result.top5_interval),
         f"{printed.top5:.1f}%" if printed and printed.top5 is not None else None),
    ]  # fmt: skip
    if result.real:
        name = f"ReaL top-1 ({result.real.images:,} images)"
        rows.append((name, f"{result.real.top1:.2%}", _range(result.real.top1_interval), None))
    if result.loss is not None and result.loss_interval is not None:
        low, high = result.loss_interval
        rows.append(("loss", f"{result.loss:.4f}", f"{low:.4f}–{high:.4f}", None))
    rows.append(("calibration error", f"{result.ece:.4f}", None, None))
    return Table(
        caption=f"{_name(result)}: scores",
        columns=(
            Column("Score"),
            Column("Value", numeric=True),
            Column("95\u00a0% interval", numeric=True, beside=True),
            Column("Published" if whose is None else f"Published for {whose}", numeric=True),
        ),
        rows=tuple(rows),
    )


def _class(label: int, name: str | None) -> str:
    return str(label) if name in (None, str(label)) else f"{label} {name}"


def _pair(each: Confusion | Mistake) -> tuple[str, str]:
    """Return the class of an image, and the one that was predicted."""
    return _class(each.label, each.label_name), _class(each.predicted, each.predicted_name)


def _facts(result: ValidateResult) -> Iterator[tuple[str, str]]:
    ckpt, data, prep, timing = result.ckpt, result.data, result.preprocessing, result.timing
    yield "Weights", f"{ckpt.path} ({ckpt.form}, {units.size(ckpt.bytes)}): {ckpt.taken}"
    yield "Tensor names", f"{ckpt.layout}; sha256 {ckpt.sha256[:16]}…"
    if ckpt.nearest is not None:
        yield "Nearest built-in", ckpt.nearest
    used = f"{data.images:,} of {data.available:,}" if data.limit else f"{data.available:,}"
    seed = f" (seed {data.seed})" if data.limit else ""
    yield "Data", f"{data.path}: {data.form}, {used} images{seed}, {data.classes} classes"
    yield "Labels", f"from {data.labels}; fingerprint {data.fingerprint[:16]}…"
    height, width = prep.input_size
    crop = f"{height}x{width}, crop {prep.crop_pct:g}, {prep.interpolation}"
    normalised = ""
    if (prep.mean, prep.std) != (IMAGENET_MEAN, IMAGENET_STD):
        mean, std = (", ".join(f"{value:g}" for value in each) for each in (prep.mean, prep.std))
        normalised = f", mean {mean}, std {std}"
    yield "Inputs", f"{crop}, transform {prep.transform}{normalised}"
    version = f" {result.runtime_version}" if result.runtime_version else ""
    form = f" ({result.form} form)" if result.form else ""
    run = (
        f"{result.runtime}{version}" if result.runtime != "torch" else None,
        f"{result.device}, {result.dtype}, batches of {result.batch_size}",
        plural(result.workers, "worker"),
        f"{result.processes} process{'es' * (result.processes > 1)}",
        f"shift {result.shift}{form}" if result.shift is not None else None,
        "compiled" if result.compiled else None,
        "channels-last" if result.channels_last else None,
    )
    yield "Run", ", ".join(filter(None, run))
    compiling = ", compilation included" * result.compiled
    yield (
        "Time",
        f"{units.seconds(timing.seconds)}: {result.images_per_s:.1f} images/s, data "
        f"{units.seconds(timing.data_s)}, model {units.seconds(timing.model_s)}{compiling}",
    )
    if result.resumed_images:
        yield "Resumed", f"{result.resumed_images:,} images are from earlier runs, not in this time"
    if result.predictions is not None:
        yield "Predictions", f"per image in {result.predictions}"


def _pictures(result: ValidateResult) -> Iterator[Picture]:
    if result.per_class:
        accuracies = [
            (_class(each.label, each.name), each.correct1 / each.images)
            for each in result.per_class
        ]
        name, least = min(accuracies, key=lambda each: each[1])
        yield Picture(
            name=f"classes-{result.model}",
            description=f"Top-1 of {len(accuracies)} classes; the hardest is {name} with "
            f"{least:.1%}.",
            drawing=bars.classes(
                accuracies, result.top1, title=f"Accuracy of every class: {_name(result)}"
            ),
        )
    shown = [each for each in result.mistakes if each.thumbnail]
    if shown:
        yield Picture(
            name=f"mistakes-{result.model}",
            description=f"{len(shown)} images with the class that they have and the one predicted.",
            drawing=thumbnails.draw(
                [
                    (each.thumbnail or "",
                     "{}, taken for\n{} ({:.0%})".format(*_pair(each), each.confidence))
                    for each in shown
                ],
                title=f"Most confident mistakes: {_name(result)}",
            ),
        )  # fmt: skip
    if result.calibration:
        bins = [
            lines.Bin(each.confidence, each.correct1 / each.images, each.images)
            for each in result.calibration
        ]
        yield Picture(
            name=f"reliability-{result.model}",
            description="Line of the accuracy over the probability of the predicted class in "
            f"{len(bins)} ranges, and the number of images in each; expected calibration error "
            f"{result.ece:.4f}.",
            drawing=lines.reliability(bins, title=f"Calibration: {_name(result)}"),
        )


def sheet(record: ValidateRecord) -> Sheet:
    """Return one row for each validated checkpoint."""
    rows = [
        {
            "model": each.model, "ckpt": each.ckpt.path, "sha256": each.ckpt.sha256,
            "data": each.data.path, "fingerprint": each.data.fingerprint,
            "transform": each.preprocessing.transform, "shift": each.shift, "device": each.device,
            "dtype": each.dtype, "images": each.images, "correct1": each.correct1,
            "correct5": each.correct5, "top1": each.top1, "top1_low": each.top1_interval[0],
            "top1_high": each.top1_interval[1], "top5": each.top5, "loss": each.loss,
            "ece": each.ece, "images_per_s": each.images_per_s, "failures": len(each.failures),
            "published_top1": each.published.top1 if each.published else None, "form": each.form,
        }
        for each in record.results
    ]  # fmt: skip
    return Sheet(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))
