"""A validation on a terminal, and as plain rows."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from s2mlp_cli import units
from s2mlp_cli.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from s2mlp_cli.records.validate import Interval, ValidateRecord, ValidateResult
from s2mlp_cli.views.sheets import Sheet
from s2mlp_cli.views.tables import HouseTable

_SHOWN_FAILURES = 5


def terminal(record: ValidateRecord, **view: object) -> RenderableType:
    """Return the scores first, then what they were measured on, then what to know about them."""
    return Group(*(part for result in record.results for part in _result(result)))


def sheet(record: ValidateRecord) -> Sheet:
    """Return one row for each validated checkpoint."""
    header = (
        "model", "ckpt", "sha256", "data", "fingerprint", "transform", "shift", "device", "dtype",
        "images", "correct1", "correct5", "top1", "top1_low", "top1_high", "top5", "loss", "ece",
        "images_per_s", "failures", "published_top1",
    )  # fmt: skip
    return Sheet(header, tuple(_row(result) for result in record.results))


def _row(result: ValidateResult) -> tuple[object, ...]:
    published = result.published.top1 if result.published else None
    return (
        result.model, result.ckpt.path, result.ckpt.sha256, result.data.path,
        result.data.fingerprint, result.preprocessing.transform, result.shift, result.device,
        result.dtype, result.images, result.correct1, result.correct5, result.top1,
        *result.top1_interval, result.top5, result.loss, result.ece, result.images_per_s,
        len(result.failures), published,
    )  # fmt: skip


def _result(result: ValidateResult) -> Iterator[RenderableType]:
    yield Text(_headline(result), style="answer")
    yield _scores(result)
    yield _facts(result)
    if result.per_class:
        yield _per_class(result)
    if result.confusions:
        yield _confusions(result)
    if result.label_orders:
        yield _label_orders(result)
    yield from _failures(result)
    for remark in result.remarks:
        yield Text(f"• {remark}", style="warn")


# shift -> what has to stand in the headline, because the score is not that of the model.
_MARKED: dict[str | None, str] = {
    "inplace": " with the in-place shift, which is NOT a spatial shift",
    "none": " with its shifts taken out",
}


def _headline(result: ValidateResult) -> str:
    return (
        f"{result.model}{_MARKED.get(result.shift, '')}: top-1 {result.top1:.2%} on "
        f"{result.images:,} images ({result.correct1:,} right)"
    )


def _scores(result: ValidateResult) -> Table:
    published = result.published
    table = _table("", ("value", "right"), ("95 % interval", "right"), (_whose(result), "right"))
    table.add_row(
        "top-1", f"{result.top1:.2%}", _percents(result.top1_interval),
        _printed(published.top1 if published else None),
    )  # fmt: skip
    table.add_row(
        "top-5", f"{result.top5:.2%}", _percents(result.top5_interval),
        _printed(published.top5 if published else None),
    )  # fmt: skip
    if result.real is not None:
        table.add_row(
            f"ReaL top-1 ({result.real.images:,} images)",
            f"{result.real.top1:.2%}",
            _percents(result.real.top1_interval),
            "",
        )
    if result.loss is not None and result.loss_interval is not None:
        low, high = result.loss_interval
        table.add_row("loss", f"{result.loss:.4f}", f"{low:.4f} … {high:.4f}", "")
    table.add_row("calibration error", f"{result.ece:.4f}", "", "")
    return table


def _whose(result: ValidateResult) -> str:
    """Return the title of the published scores: they may be those of the nearest model."""
    model = result.published.model if result.published else None
    return "published" if model in (None, result.model) else f"published for {model}"


def _facts(result: ValidateResult) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="key", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _fact_rows(result):
        table.add_row(name, text)
    return table


def _fact_rows(result: ValidateResult) -> Iterator[tuple[str, str]]:
    ckpt, data, prep, timing = result.ckpt, result.data, result.preprocessing, result.timing
    yield "weights", f"{ckpt.path} ({ckpt.form}, {units.size(ckpt.bytes)}): {ckpt.taken}"
    yield "", f"{ckpt.layout} layout, sha256 {ckpt.sha256[:16]}…"
    if ckpt.nearest is not None:
        yield "", f"nearest built-in: {ckpt.nearest}"
    used = f"{data.images:,} of {data.available:,}" if data.limit else f"{data.available:,}"
    seed = f" (seed {data.seed})" if data.limit else ""
    yield "data", f"{data.path}: {data.form}, {used} images{seed}, {data.classes} classes"
    yield "", f"labels from {data.labels}; fingerprint {data.fingerprint[:16]}…"
    height, width = prep.input_size
    yield (
        "inputs",
        (
            f"{height}x{width}, crop {prep.crop_pct:g}, {prep.interpolation}, transform "
            f"{prep.transform}"
        ),
    )
    if (prep.mean, prep.std) != (IMAGENET_MEAN, IMAGENET_STD):
        yield "", f"mean {triple(prep.mean)}, std {triple(prep.std)}"
    yield "run", ", ".join(_run(result))
    yield (
        "time",
        (
            f"{units.seconds(timing.seconds)}: {result.images_per_s:.1f} images/s, data "
            f"{units.seconds(timing.data_s)}, model {units.seconds(timing.model_s)}"
            f"{', compilation included' * result.compiled}"
        ),
    )
    if result.resumed_images:
        yield "", f"{result.resumed_images:,} images were there already and are not in this time"
    if result.predictions is not None:
        yield "kept", f"image by image in {result.predictions}"


def _run(result: ValidateResult) -> Iterator[str]:
    yield f"{result.device}, {result.dtype}, batches of {result.batch_size}"
    yield f"{result.workers} workers"
    yield f"{result.processes} process{'es' * (result.processes > 1)}"
    if result.shift is not None:
        yield f"shift {result.shift}"
    if result.compiled:
        yield "compiled"
    if result.channels_last:
        yield "channels-last"


def _per_class(result: ValidateResult) -> Table:
    table = _table("class", ("images", "right"), ("top-1", "right"), ("top-5", "right"))
    for row in result.per_class:
        table.add_row(
            _class(row.label, row.name),
            f"{row.images:,}",
            f"{row.correct1 / row.images:.1%}",
            f"{row.correct5 / row.images:.1%}",
        )
    return table


def _confusions(result: ValidateResult) -> Table:
    table = _table("most confused", ("taken for", "left"), ("images", "right"))
    for row in result.confusions:
        table.add_row(
            _class(row.label, row.label_name),
            _class(row.predicted, row.predicted_name),
            f"{row.images:,}",
        )
    return table


def _label_orders(result: ValidateResult) -> Table:
    table = _table("order of the classes", ("top-1", "right"))
    for row in result.label_orders:
        table.add_row(row.order, f"{row.top1:.2%}")
    return table


def _failures(result: ValidateResult) -> Iterator[RenderableType]:
    if not result.failures:
        return
    plural = "s" * (len(result.failures) > 1)
    yield Text(f"{len(result.failures)} broken image{plural}, in no score:", style="bad")
    for failure in result.failures[:_SHOWN_FAILURES]:
        yield Text(f"  {failure.name}: {failure.reason}")
    if len(result.failures) > _SHOWN_FAILURES:
        yield Text(f"  and {len(result.failures) - _SHOWN_FAILURES} more in the record")


def _table(first: str, *columns: tuple[str, str]) -> Table:
    table = HouseTable(box=None, header_style="key", pad_edge=False)
    table.add_column(first)
    for name, justify in columns:
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    return table


def _class(label: int, name: str | None) -> str:
    return str(label) if name in (None, str(label)) else f"{label} {name}"


def _percents(interval: Interval) -> str:
    return f"{interval[0]:.2%} … {interval[1]:.2%}"


def triple(values: tuple[float, float, float]) -> str:
    """Return one number for each of red, green and blue."""
    return ", ".join(f"{value:g}" for value in values)


def _printed(percent: float | None) -> str:
    return "" if percent is None else f"{percent:.1f}%"
