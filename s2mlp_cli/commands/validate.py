"""``s2mlp validate``: the accuracy of a checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import GroupedCommand, OptionGroups, grouped
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.errors import DataError, WriteError, printable, visible
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.base import DTYPES, changed
from s2mlp_cli.views.terminal import remarks_console

if TYPE_CHECKING:
    from s2mlp_cli.data.images import ImageSet
    from s2mlp_cli.measure.validating.classifier import Classifier
    from s2mlp_cli.measure.validating.plan import Settings
    from s2mlp_cli.measure.validating.processes import Processes
    from s2mlp_cli.measure.validating.validate import Validation


class Triple(click.ParamType[tuple[float, float, float]]):
    """A number from 0 to 1 for each channel, such as ``0.485,0.456,0.406``."""

    name = "R,G,B"

    def __init__(self, positive: bool = False) -> None:
        self.positive = positive

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Return the three numbers."""
        if isinstance(value, tuple):
            return value
        try:
            red, green, blue = (float(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not three numbers; use 0.485,0.456,0.406", param, ctx)
        triple = (red, green, blue)
        if not all(0 <= number <= 1 for number in triple):
            self.fail(f"'{value}' is not within 0 to 1; divide pixel values by 255", param, ctx)
        if self.positive and not all(triple):
            self.fail(f"'{value}' contains 0, and pixels are divided by it", param, ctx)
        return triple


GROUPS: OptionGroups = {
    "Checkpoint": (
        click.option(
            "--ckpt",
            metavar="FILE|sample",
            shell_complete=options.complete_files,
            help="PyTorch or safetensors weights, or an exported .onnx or .pt2 file; `sample` is a "
            "small model inside s2mlp.",
        ),
        click.option(
            "--pretrained",
            is_flag=True,
            help="Download the weights that timm publishes for --model, instead of --ckpt.",
        ),
        options.ema,
        options.weights,
        click.option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            shell_complete=options.complete_models,
            help="Model, if the checkpoint does not identify it: a spec, or net.py:build.",
        ),
        options.overrides,
    ),
    "Data": (
        click.option(
            "--data",
            envvar="S2MLP_DATA",
            metavar="PATH",
            show_envvar=True,
            shell_complete=options.complete_files,
            help="Images: class folders, flat folder, tar, zip, WebDataset, Parquet or CSV.",
        ),
        click.option(
            "--labels",
            metavar="FILE|folders",
            shell_complete=options.complete_files,
            help="Labels: devkit archive, LOC_val_solution.csv, a table of file and label, or the "
            "class `folders`.",
        ),
        click.option(
            "--real-labels",
            metavar="FILE|timm",
            shell_complete=options.complete_files,
            help="Also score ImageNet-ReaL, with real.json or timm's copy.",
        ),
        click.option(
            "--split",
            metavar="NAME",
            help="Read this split where there are several: train, dev, a folder's name; or none.",
        ),
        click.option("--partial", is_flag=True, help="Accept fewer images than labels."),
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            metavar="N",
            help="Use only N images, evenly over the classes.",
        ),
        options.seed("Seed for the images that --limit draws."),
        click.option(
            "--strict", is_flag=True, help="Fail at the first image that cannot be decoded."
        ),
    ),
    "Input": (
        options.input_size,
        click.option(
            "--crop-pct",
            type=options.Finite(0, 1, min_open=True),
            metavar="FRACTION",
            help="Crop as a fraction of the resized short side.  [default: timm's or 0.9]",
        ),
        click.option(
            "--interpolation",
            type=click.Choice(["bicubic", "bilinear", "lanczos"]),
            help="[default: timm's or bicubic]",
        ),
        click.option(
            "--mean",
            type=Triple(),
            help="Mean of each channel, 0 to 1.  [default: timm's or ImageNet's]",
        ),
        click.option(
            "--std",
            type=Triple(positive=True),
            help="Standard deviation of each channel.  [default: as for --mean]",
        ),
        click.option(
            "--transform",
            type=click.Choice(["box", "timm"]),
            help="box: resize only what the crop keeps. timm: timm's exact pixels.  [default: box]",
        ),
    ),
    "Run": (
        options.device,
        click.option(
            "--dtype",
            type=click.Choice(DTYPES),
            default="fp32",
            show_default=True,
            help="Precision; bf16 and fp16 use autocast.",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="Images per batch.  [default: 64, or what an exported file fixes]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=0),
            metavar="N",
            help="Processes that decode images.  [default: one per core, at most 16]",
        ),
        click.option("--compile", "compiled", is_flag=True, help="Use torch.compile."),
        click.option("--channels-last", is_flag=True, help="Channels-last inputs and weights."),
        options.shift(),
        click.option(
            "--resume",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Save progress to FILE, and continue from it if it exists.",
        ),
    ),
    "Report": (
        click.option("--per-class", is_flag=True, help="Report every class."),
        click.option(
            "--keep-mistakes",
            is_flag=True,
            help="Keep thumbnails of the most confident mistakes (at most 12) for reports.",
        ),
        click.option(
            "--predictions",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE.csv|.parquet",
            help="Save the top-5, loss and correctness of each image.",
        ),
        options.output,
    ),
}


@dataclass(frozen=True)
class Given:
    """The command line, option by option."""

    ckpt: str | None
    pretrained: bool
    ema: bool
    weights: str | None
    model: str | None
    overrides: tuple[str, ...]
    data: str | None
    labels: str | None
    real_labels: str | None
    split: str | None
    partial: bool
    limit: int | None
    seed: int
    strict: bool
    input_size: tuple[int, int] | None
    crop_pct: float | None
    interpolation: str | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    transform: str | None
    device: str | None
    dtype: str
    batch_size: int | None
    workers: int | None
    compiled: bool
    channels_last: bool
    shift: str
    resume: Path | None
    per_class: bool
    keep_mistakes: bool
    predictions: Path | None
    output_format: str
    output: Path | None


@grouped(GROUPS)
@click.command(
    cls=GroupedCommand,
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
def command(**options: Any) -> None:
    """Measure top-1 and top-5 of a checkpoint on ImageNet val.

    The model is inferred from the checkpoint. `s2mlp validate --ckpt sample` works offline.

    Image preprocessing comes from the options, else from the checkpoint's metadata, else from
    timm's configuration for timm models, else from the papers.
    """
    from s2mlp_cli.measure.validating.processes import processes
    from s2mlp_cli.measure.validating.result import check_broken
    from s2mlp_cli.measure.validating.validate import validate
    from s2mlp_cli.records.predictions import check_target

    given = Given(**options)
    _refuse_overwriting(given)
    with processes() as group:
        with group.errors_shown_once():
            if given.predictions is not None:
                check_target(given.predictions)
            model, images = _model(given, group), _images(given)
            settings = _settings(given, model, images, group)
        total = min(settings.limit or len(images), len(images))
        progress = ValidationProgress(total, group.count, group.rank == 0)
        with progress.bar:
            validation = validate(model, images, settings, progress, group)
    if validation is None:
        return
    _give_out(validation, given)
    if validation.unsaved is not None:
        raise validation.unsaved
    check_broken(validation.result)


def _refuse_overwriting(given: Given) -> None:
    """Refuse to write one file twice, or over a file that is read."""
    written = {
        "--output": given.output,
        "--predictions": given.predictions,
        "--resume": given.resume,
    }
    read = {
        "--ckpt": given.ckpt,
        "--model": given.model,
        "--data": given.data,
        "--labels": given.labels,
        "--real-labels": given.real_labels,
    }
    seen: dict[str, str] = {}
    for option, path in {**read, **written}.items():
        place = os.path.realpath(path) if path else ""
        if place in seen and option in written:
            raise click.UsageError(f"{seen[place]} and {option} name the same file, {path}")
        if place:
            seen[place] = option


def _give_out(validation: Validation, given: Given) -> None:
    """Write and print; if a file cannot be written, the scores are printed all the same."""
    from s2mlp_cli.records.predictions import save_predictions
    from s2mlp_cli.records.validate import ValidateRecord

    result = validation.result
    try:
        if given.predictions is not None:
            save_predictions(given.predictions, validation.predictions())
            result = changed(result, predictions=str(given.predictions))
    finally:
        record = made_here(ValidateRecord, results=(result,))
        emit(record, given.output_format, given.output)


def _model(given: Given, group: Processes) -> Classifier:
    from s2mlp_cli.checkpoints.pretrained import fetch_weights
    from s2mlp_cli.cores import usable_cores
    from s2mlp_cli.measure.source import EXPORTED, SpecModel, open_model
    from s2mlp_cli.measure.validating.classifier import classifier
    from s2mlp_cli.specs import load_spec

    ckpt: str | Path | None = given.ckpt
    if given.pretrained:
        if given.model is None or ckpt is not None:
            raise click.UsageError("--pretrained replaces --ckpt, and needs --model")
        ckpt = fetch_weights(load_spec(given.model, given.overrides))
    if given.model is None and given.overrides:
        raise click.UsageError("--set changes a spec; name it with --model")
    exported = str(ckpt).lower().endswith(EXPORTED)
    if exported and (given.model or given.ema or given.weights):
        raise click.UsageError(
            f"{ckpt} is an exported file with its model and weights; leave out --model, --ema and "
            "--weights"
        )
    opened = None
    if ckpt is not None or given.model is not None:
        opened = open_model(
            given.model,
            ckpt,
            overrides=given.overrides,
            input_size=given.input_size,
            averaged=given.ema,
            weights=given.weights,
        )
    if opened is None or isinstance(opened, SpecModel):
        raise click.UsageError("name a checkpoint: --ckpt FILE, or --ckpt sample to try it")
    return classifier(opened, threads=max(usable_cores().count // group.local_count, 1))


def _images(given: Given) -> ImageSet:
    from s2mlp_cli import sample
    from s2mlp_cli.data.detect import open_images

    if given.ckpt == sample.NAME and given.data is None:
        return replace(open_images(sample.IMAGES), path=sample.NAME)
    if given.data is None:
        raise DataError(
            "there are no images; give ImageNet val with --data PATH or S2MLP_DATA=PATH"
        )
    return open_images(given.data, given.labels, given.partial, given.split)


def _settings(given: Given, model: Classifier, images: ImageSet, group: Processes) -> Settings:
    from s2mlp_cli.cores import usable_cores
    from s2mlp_cli.data.real_labels import real_labels
    from s2mlp_cli.measure.torch_support import target
    from s2mlp_cli.measure.validating.plan import Settings
    from s2mlp_cli.measure.validating.processes import choose_workers

    inputs = ("input_size", "crop_pct", "interpolation", "mean", "std", "transform")
    chosen = {name: value for name in inputs if (value := getattr(given, name)) is not None}
    device = given.device or ("cpu" if model.session else None)
    if given.workers is None:
        workers = choose_workers(usable_cores().count, group.local_count)
    else:
        workers = given.workers
    return Settings(
        preprocessing=Preprocessing.model_validate({**model.preprocessing.model_dump(), **chosen}),
        shift=given.shift,
        device=str(target(device, group.local_rank)),
        dtype=given.dtype,
        batch_size=given.batch_size or model.batch_size or Settings.batch_size,
        workers=workers,
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


class ValidationProgress:
    """A bar on stderr with the running top-1; a pipe gets the remarks only.

    Args:
        total: images of the run.
        processes: how many share them: the bar multiplies this process's count.
        shown: False in the processes that report nothing.
    """

    def __init__(self, total: int, processes: int = 1, shown: bool = True) -> None:
        console = remarks_console()
        self.processes, self.shown = processes, shown
        self.bar = Progress(
            TextColumn("top-1 {task.fields[top1]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (shown and console.file.isatty()),  # a log, even if FORCE_COLOR is set
        )
        self.task = self.bar.add_task("", total=total, top1="–")

    def scored(self, images: int, correct1: int) -> None:
        self.bar.update(
            self.task, completed=images * self.processes, top1=f"{correct1 / images:.2%}"
        )

    def broken(self, name: str, reason: str) -> None:
        self._say(f"cannot decode {name}: {reason}")

    def kept(self, path: Path) -> None:
        self._say(f"progress is saved; continue with --resume {path}")

    def unsaved(self, error: WriteError) -> None:
        self._say(f"progress is not saved: {error}")

    def _say(self, sentence: str) -> None:
        if self.shown:
            self.bar.console.print(visible(printable(sentence)), style="warn", soft_wrap=True)
