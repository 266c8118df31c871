"""``s2mlp validate``: the accuracy of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import as_field, option
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.errors import DataError, printable, visible
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.base import DTYPES, changed
from s2mlp_cli.records.predictions import ENDINGS, save_predictions
from s2mlp_cli.views.terminal import remarks_console

if TYPE_CHECKING:
    from s2mlp_cli.data.images import ImageSet
    from s2mlp_cli.measure.validating.classifier import Classifier
    from s2mlp_cli.measure.validating.plan import Settings
    from s2mlp_cli.measure.validating.processes import Processes
    from s2mlp_cli.measure.validating.validate import OnBatch, OnRemark


def triple(text: str) -> tuple[float, float, float]:
    """Return a number from 0 to 1 for each channel, from ``0.485,0.456,0.406``."""
    try:
        red, green, blue = map(float, text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not three numbers; use 0.485,0.456,0.406") from None
    if not all(0 <= number <= 1 for number in (red, green, blue)):
        raise click.BadParameter(f"'{text}' is not within 0 to 1; divide pixel values by 255")
    return red, green, blue


def deviations(text: str) -> tuple[float, float, float]:
    """Return three numbers above 0, as :func:`triple` does."""
    numbers = triple(text)
    if not all(numbers):
        raise click.BadParameter(f"'{text}' contains 0, and pixels are divided by it")
    return numbers


@dataclass(frozen=True)
class Given:
    """The command line."""

    ckpt: str | None = option(
        heading="Checkpoint",
        metavar="FILE|sample",
        shell_complete=options.complete_files,
        help="PyTorch or safetensors weights, or an exported .onnx or .pt2 file; `sample` is a "
        "small model inside s2mlp.",
    )
    pretrained: bool = option(
        help="Download the weights that timm publishes for --model, instead of --ckpt."
    )
    ema: bool = as_field(options.ema)
    weights: str | None = as_field(options.weights)
    model: str | None = option(
        "-m",
        metavar="NAME|FILE",
        shell_complete=options.complete_models,
        help="Model, if the checkpoint does not identify it: a spec, or net.py:build.",
    )
    overrides: tuple[str, ...] = as_field(options.overrides)
    data: str | None = option(
        heading="Data",
        envvar="S2MLP_DATA",
        metavar="PATH",
        show_envvar=True,
        shell_complete=options.complete_files,
        help="Images: class folders, flat folder, tar, zip, WebDataset, Parquet or CSV.",
    )
    labels: str | None = option(
        metavar="FILE|folders",
        shell_complete=options.complete_files,
        help="Labels: devkit archive, LOC_val_solution.csv, a table of file and label, or the "
        "class `folders`.",
    )
    real_labels: str | None = option(
        metavar="FILE|timm",
        shell_complete=options.complete_files,
        help="Also score ImageNet-ReaL, with real.json or timm's copy.",
    )
    split: str | None = option(
        metavar="NAME",
        help="Read this split where there are several: train, dev, a folder's name; or none.",
    )
    partial: bool = option(help="Accept fewer images than labels.")
    limit: int | None = option(
        type=click.IntRange(min=1),
        metavar="N",
        help="Use only N images, evenly over the classes.",
    )
    seed: int = as_field(options.seed("Seed for the images that --limit draws."))
    strict: bool = option(help="Fail at the first image that cannot be decoded.")
    input_size: tuple[int, int] | None = as_field(options.input_size, heading="Input")
    crop_pct: float | None = option(
        type=options.Finite(0, 1, min_open=True),
        metavar="FRACTION",
        help="Crop as a fraction of the resized short side.  [default: timm's or 0.9]",
    )
    interpolation: str | None = option(
        type=click.Choice(["bicubic", "bilinear", "lanczos"]),
        help="[default: timm's or bicubic]",
    )
    mean: tuple[float, float, float] | None = option(
        type=triple,
        metavar="R,G,B",
        help="Mean of each channel, 0 to 1.  [default: timm's or ImageNet's]",
    )
    std: tuple[float, float, float] | None = option(
        type=deviations,
        metavar="R,G,B",
        help="Standard deviation of each channel.  [default: as for --mean]",
    )
    transform: str | None = option(
        type=click.Choice(["box", "timm"]),
        help="box: resize only what the crop keeps. timm: timm's exact pixels.  [default: box]",
    )
    device: str | None = as_field(options.device, heading="Run")
    dtype: str = option(
        type=click.Choice(DTYPES),
        default="fp32",
        show_default=True,
        help="Precision; bf16 and fp16 use autocast.",
    )
    batch_size: int | None = option(
        type=click.IntRange(min=1),
        help="Images per batch.  [default: 64, or what an exported file fixes]",
    )
    workers: int | None = option(
        type=click.IntRange(min=0),
        metavar="N",
        help="Processes that decode images.  [default: one per core, at most 16]",
    )
    compiled: bool = option("--compile", help="Use torch.compile.")
    channels_last: bool = option(help="Channels-last inputs and weights.")
    shift: str = as_field(options.shift())
    resume: Path | None = option(
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Save progress to FILE, and continue from it if it exists.",
    )
    per_class: bool = option(heading="Report", help="Report every class.")
    keep_mistakes: bool = option(
        help="Keep thumbnails of the most confident mistakes (at most 12) for reports."
    )
    predictions: Path | None = option(
        type=options.OutputFile(ENDINGS),
        metavar="FILE.csv|.parquet",
        help="Save the top-5, loss and correctness of each image.",
    )
    output_format: str = as_field(options.output_format)
    output: Path | None = as_field(options.output_file)


@options.command(
    Given,
    short_help="Top-1 and top-5 of a checkpoint on ImageNet val.",
    epilog="""
    \b
    Examples:
      s2mlp validate --ckpt sample
      s2mlp validate --ckpt best.pth --data ILSVRC2012_img_val.tar --resume progress
      s2mlp validate --model mixer-b16 --pretrained --data val.parquet --transform timm
      s2mlp validate --ckpt best.pth --data val --limit 5000 --predictions ours.csv
    """,
)
def command(given: Given) -> None:
    """Measure top-1 and top-5 of a checkpoint on ImageNet val.

    The model is inferred from the checkpoint. `s2mlp validate --ckpt sample` works offline.

    Image preprocessing comes from the options, else from the checkpoint's metadata, else from
    timm's configuration for timm models, else from the papers.
    """
    from s2mlp_cli.measure.validating.processes import processes
    from s2mlp_cli.measure.validating.result import check_broken
    from s2mlp_cli.measure.validating.validate import validate
    from s2mlp_cli.records.validate import ValidateRecord

    _refuse_overwriting(given)
    with processes() as group:
        with group.errors_shown_once():
            model, images = _model(given, group), _images(given)
            settings = _settings(given, model, images, group)
        with _progress(min(settings.limit or len(images), len(images)), group) as (scored, remark):
            validation = validate(model, images, settings, scored, remark, group)
    if validation is None:
        return
    result = validation.result
    try:
        if given.predictions is not None:
            save_predictions(given.predictions, validation.predictions())
            result = changed(result, predictions=str(given.predictions))
    finally:  # the scores are printed even if a file cannot be written
        record = made_here(ValidateRecord, results=(result,))
        emit(record, given.output_format, given.output)
    if validation.unsaved is not None:
        raise validation.unsaved
    check_broken(result)


def _refuse_overwriting(given: Given) -> None:
    """Refuse to write one file twice, or over a file that is read."""
    read = ("ckpt", "model", "data", "labels", "real-labels")
    written = ("output", "predictions", "resume")
    seen: dict[str, str] = {}
    for name in (*read, *written):
        path = getattr(given, name.replace("-", "_"))
        other = seen.setdefault(os.path.realpath(path), name) if path else name
        if other != name and name in written:
            raise click.UsageError(f"--{other} and --{name} name the same file, {path}")


def _model(given: Given, group: Processes) -> Classifier:
    from s2mlp_cli.checkpoints.pretrained import fetch_weights
    from s2mlp_cli.measure.source import open_model
    from s2mlp_cli.measure.validating.classifier import classifier
    from s2mlp_cli.specs import load_spec

    ckpt: str | Path | None = given.ckpt
    if given.pretrained:
        if given.model is None or ckpt is not None:
            raise click.UsageError("--pretrained replaces --ckpt, and needs --model")
        ckpt = fetch_weights(load_spec(given.model, given.overrides))
    if ckpt is None and given.model is None:
        raise click.UsageError("name a checkpoint: --ckpt FILE, or --ckpt sample to try it")
    opened = open_model(
        given.model,
        ckpt,
        overrides=given.overrides,
        input_size=given.input_size,
        averaged=given.ema,
        weights=given.weights,
    )
    return classifier(opened, threads=group.cores)


def _images(given: Given) -> ImageSet:
    from s2mlp_cli import sample
    from s2mlp_cli.data.detect import open_images

    own = given.data is None and given.ckpt == sample.NAME
    data = sample.IMAGES if own else given.data
    if data is None:
        raise DataError(
            "there are no images; give ImageNet val with --data PATH or S2MLP_DATA=PATH"
        )
    images = open_images(data, given.labels, given.partial, given.split)
    return replace(images, path=sample.NAME) if own else images


def _settings(given: Given, model: Classifier, images: ImageSet, group: Processes) -> Settings:
    from s2mlp_cli.data.real_labels import real_labels
    from s2mlp_cli.measure.torch_support import target
    from s2mlp_cli.measure.validating.plan import Settings

    names = ("input_size", "crop_pct", "interpolation", "mean", "std", "transform")
    chosen = {name: value for name in names if (value := getattr(given, name)) is not None}
    device = given.device or ("cpu" if model.session else None)
    return Settings(
        preprocessing=Preprocessing.model_validate({**model.preprocessing.model_dump(), **chosen}),
        shift=given.shift,
        device=str(target(device, group.local_rank)),
        dtype=given.dtype,
        batch_size=given.batch_size or model.batch_size or Settings.batch_size,
        workers=group.workers if given.workers is None else given.workers,
        compiled=given.compiled,
        channels_last=given.channels_last,
        limit=given.limit,
        seed=given.seed,
        strict=given.strict,
        per_class=given.per_class,
        keep_mistakes=given.keep_mistakes,
        resume=given.resume,
        real=real_labels(given.real_labels, images.names) if given.real_labels else None,
    )


@contextmanager
def _progress(total: int, group: Processes) -> Iterator[tuple[OnBatch, OnRemark]]:
    """Show a bar with the running top-1 on stderr; yields what moves it, and prints a remark.

    A pipe gets the remarks only, and processes that report nothing print neither. The bar counts
    the images of all processes by those of this one.
    """
    console = remarks_console()
    console.quiet = group.rank != 0
    with Progress(
        TextColumn("top-1 {task.fields[top1]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.file.isatty(),  # a log, even if FORCE_COLOR is set
    ) as bar:
        task = bar.add_task("", total=total, top1="–")

        def scored(images: int, correct1: int) -> None:
            bar.update(task, completed=images * group.count, top1=f"{correct1 / images:.2%}")

        def remark(sentence: str) -> None:
            console.print(visible(printable(sentence)), style="warn", soft_wrap=True)

        yield scored, remark
