"""``s2mlp validate``: the accuracy of a checkpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.output import emit
from s2mlp_cli.errors import DataError

if TYPE_CHECKING:
    from s2mlp_cli.checkpoints.loading import Checkpoint
    from s2mlp_cli.data.images import ImageSet
    from s2mlp_cli.measure.validating.plan import Settings
    from s2mlp_cli.records.validate import Preprocessing
    from s2mlp_cli.spec import ModelSpec

SAMPLE = "sample"

_checkpoint_options = (
    click.option(
        "--ckpt",
        metavar="FILE|sample",
        help="The weights: PyTorch or safetensors; `sample` is a small one inside s2mlp.",
    ),
    click.option(
        "--pretrained",
        is_flag=True,
        help="Fetch the weights that timm publishes for --model; nothing is fetched otherwise.",
    ),
    click.option("--ema", is_flag=True, help="Take the averaged weights."),
    click.option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="The model, where the checkpoint's tensors do not tell enough.",
    ),
    options.overrides,
)
_data_options = (
    click.option(
        "--data",
        envvar="S2MLP_DATA",
        metavar="PATH",
        show_envvar=True,
        help="Images: class folders, flat folder, tar, WebDataset, Parquet or CSV.",
    ),
    click.option(
        "--labels",
        metavar="FILE",
        help="Labels: devkit archive, LOC_val_solution.csv or a CSV of file,label.",
    ),
    click.option(
        "--real-labels",
        metavar="FILE|timm",
        help="Score ImageNet-ReaL too: real.json, or the copy in timm.",
    ),
    click.option("--partial", is_flag=True, help="Accept fewer images than labels."),
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Only N images, evenly over the classes.",
    ),
    click.option("--seed", default=0, show_default=True, help="Which images --limit draws."),
    click.option("--strict", is_flag=True, help="Fail at the first broken image."),
)
_input_options = (
    options.input_size,
    click.option(
        "--crop-pct",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="SHARE",
        help="The crop's share of the resized short side.  [default: 0.9]",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["bicubic", "bilinear", "lanczos"]),
        help="[default: bicubic]",
    ),
    click.option(
        "--transform",
        type=click.Choice(["box", "timm"]),
        help="box: resize what the crop keeps. timm: timm's pixels exactly.  [default: box]",
    ),
)
_run_options = (
    options.device,
    click.option(
        "--dtype",
        type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
        default="fp32",
        show_default=True,
    ),
    click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        metavar="N",
        help="Processes that decode.  [default: one for each core, at most 16]",
    ),
    click.option("--compile", "compiled", is_flag=True, help="torch.compile the model."),
    click.option("--channels-last", is_flag=True, help="Channels-last inputs and weights."),
    options.shift(),
    click.option(
        "--resume",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Keep the progress in FILE, and go on from it if it is there.",
    ),
)
_report_options = (
    click.option("--per-class", is_flag=True, help="Report every class."),
    click.option(
        "--predictions",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.csv|.parquet",
        help="Save top-5, loss and correctness per image.",
    ),
    options.output,
)


def _all(*groups: tuple[Any, ...]) -> Callable[[options.Function], options.Function]:
    """Combine groups of options, in the order in which --help lists them."""

    def decorate(function: options.Function) -> options.Function:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


@click.command("validate")
@_all(_checkpoint_options, _data_options, _input_options, _run_options, _report_options)
def command(**given: Any) -> None:
    """Measure top-1 and top-5 of a checkpoint on ImageNet val.

    The model is read off the checkpoint. `s2mlp validate --ckpt sample` tries it offline.
    """
    from s2mlp_cli.commands.validation_progress import ValidationProgress
    from s2mlp_cli.measure.environment import environment
    from s2mlp_cli.measure.validating.processes import processes
    from s2mlp_cli.measure.validating.result import check_broken
    from s2mlp_cli.measure.validating.resuming import INTERRUPTED
    from s2mlp_cli.measure.validating.validate import validate
    from s2mlp_cli.records.predictions import check_target, save_predictions
    from s2mlp_cli.records.validate import ValidateRecord

    if given["predictions"] is not None:
        check_target(given["predictions"])
    checkpoint, images = _checkpoint(given), _images(given)
    with processes() as group:
        settings = _settings(given, checkpoint, images, group.local_rank)
        total = min(settings.limit or len(images), len(images))
        with ValidationProgress(total, group.count, group.is_first) as progress:
            try:
                validation = validate(
                    checkpoint, images, settings, progress.on_batch, progress.on_broken, group
                )
            except KeyboardInterrupt:
                progress.say(f"go on with --resume {settings.resume or INTERRUPTED}")
                raise
    if validation is None:
        return
    if given["predictions"] is not None:
        save_predictions(given["predictions"], validation.predictions())
    record = ValidateRecord.new(
        command=("s2mlp", *sys.argv[1:]), environment=environment(), results=(validation.result,)
    )
    emit(record, given["output_format"], given["output"])
    check_broken(validation.result)


def _checkpoint(given: dict[str, Any]) -> Checkpoint:
    """Load the weights for the size that is asked for; a model that cannot take it is refused."""
    from s2mlp_cli.checkpoints.compare import check_fit
    from s2mlp_cli.spec import with_input_size

    loaded = _load(given)
    if given["input_size"] is None:
        return loaded
    spec = with_input_size(loaded.spec, given["input_size"])
    check_fit(loaded.state, spec)
    return replace(loaded, spec=spec)


def _load(given: dict[str, Any]) -> Checkpoint:
    from s2mlp_cli import sample
    from s2mlp_cli.checkpoints.loading import load_checkpoint
    from s2mlp_cli.spec import load_spec

    spec = load_spec(given["model"], given["overrides"]) if given["model"] else None
    if spec is None and given["overrides"]:
        raise click.UsageError("--set changes a spec; name it with --model")
    if given["pretrained"]:
        return _published(given, spec)
    if given["ckpt"] is None:
        raise click.UsageError("name a checkpoint: --ckpt FILE, or --ckpt sample to try it")
    if given["ckpt"] == SAMPLE:
        return load_checkpoint(sample.CHECKPOINT, spec, given["ema"], name=SAMPLE)
    return load_checkpoint(given["ckpt"], spec, given["ema"])


def _published(given: dict[str, Any], spec: ModelSpec | None) -> Checkpoint:
    from s2mlp_cli.checkpoints.loading import load_checkpoint
    from s2mlp_cli.checkpoints.pretrained import fetch_weights

    if spec is None or given["ckpt"] is not None:
        raise click.UsageError("--pretrained takes the place of --ckpt, and needs --model")
    return load_checkpoint(fetch_weights(spec), spec)


def _images(given: dict[str, Any]) -> ImageSet:
    from s2mlp_cli import sample
    from s2mlp_cli.data.detect import open_images

    if given["ckpt"] == SAMPLE and given["data"] is None:
        return replace(open_images(sample.IMAGES), path=SAMPLE)
    if given["data"] is None:
        raise DataError(
            "no images were given; say where ImageNet val lies with --data PATH or S2MLP_DATA=PATH"
        )
    return open_images(given["data"], given["labels"], given["partial"])


def _settings(
    given: dict[str, Any], checkpoint: Checkpoint, images: ImageSet, local_rank: int
) -> Settings:
    from s2mlp_cli.data.real_labels import real_labels
    from s2mlp_cli.measure.validating.plan import Settings
    from s2mlp_cli.measure.validating.processes import choose_device

    workers = given["workers"]
    return Settings(
        preprocessing=_preprocessing(given, checkpoint),
        shift=given["shift"],
        device=choose_device(given["device"], local_rank),
        dtype=given["dtype"],
        batch_size=given["batch_size"],
        workers=min(os.cpu_count() or 1, 16) if workers is None else workers,
        compiled=given["compiled"],
        channels_last=given["channels_last"],
        limit=given["limit"],
        seed=given["seed"],
        strict=given["strict"],
        per_class=given["per_class"],
        resume=given["resume"],
        real=real_labels(given["real_labels"], images.names) if given["real_labels"] else None,
    )


def _preprocessing(given: dict[str, Any], checkpoint: Checkpoint) -> Preprocessing:
    """Options go before what the checkpoint says of itself, and that before the defaults."""
    from s2mlp_cli.models.preprocessing import default_preprocessing
    from s2mlp_cli.records.validate import Preprocessing

    known = checkpoint.preprocessing or default_preprocessing(checkpoint.spec)
    names = ("input_size", "crop_pct", "interpolation", "transform")
    asked = {name: given[name] for name in names if given[name] is not None}
    return Preprocessing.model_validate({**known.model_dump(), **asked})
