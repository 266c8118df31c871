"""``s2mlp validate``: the accuracy of a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2mlp_cli.commands.options import GroupedCommand, grouped
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.commands.validation_options import GROUPS
from s2mlp_cli.errors import DataError

if TYPE_CHECKING:
    from s2mlp_cli.checkpoints.loading import Checkpoint
    from s2mlp_cli.data.images import ImageSet
    from s2mlp_cli.measure.validating.plan import Settings
    from s2mlp_cli.measure.validating.processes import Processes
    from s2mlp_cli.measure.validating.validate import Validation
    from s2mlp_cli.preprocessing import Preprocessing
    from s2mlp_cli.specs import ModelSpec

SAMPLE = "sample"


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
def command(**given: Any) -> None:
    """Measure top-1 and top-5 of a checkpoint on ImageNet val.

    The model is read off the checkpoint. `s2mlp validate --ckpt sample` tries it offline.

    Images are prepared as the options say; else as the checkpoint's metadata says; else by timm's
    own data configuration for its models, and as the papers did for all others.
    """
    from s2mlp_cli.commands.validation_progress import ValidationProgress
    from s2mlp_cli.measure.validating.processes import processes
    from s2mlp_cli.measure.validating.result import check_broken
    from s2mlp_cli.measure.validating.validate import validate
    from s2mlp_cli.records.predictions import check_target

    if given["predictions"] is not None:
        check_target(given["predictions"])
    checkpoint, images = _checkpoint(given), _images(given)
    with processes() as group:
        settings = _settings(given, checkpoint, images, group)
        total = min(settings.limit or len(images), len(images))
        with ValidationProgress(total, group.count, group.is_first) as progress:
            validation = validate(
                checkpoint, images, settings,
                progress.on_batch, progress.on_broken, progress.on_kept, group,
            )  # fmt: skip
    if validation is not None:
        _give_out(validation, given)
        check_broken(validation.result)


def _give_out(validation: Validation, given: dict[str, Any]) -> None:
    """Write and print; where a file cannot be written, the scores are printed all the same."""
    from s2mlp_cli.records.predictions import save_predictions
    from s2mlp_cli.records.validate import ValidateRecord

    result, predictions = validation.result, given["predictions"]
    try:
        if predictions is not None:
            save_predictions(predictions, validation.predictions())
            result = result.model_copy(update={"predictions": str(predictions)})
    finally:
        record = made_here(ValidateRecord, results=(result,))
        emit(record, given["output_format"], given["output"])


def _checkpoint(given: dict[str, Any]) -> Checkpoint:
    from s2mlp_cli import sample
    from s2mlp_cli.checkpoints.loading import load_checkpoint
    from s2mlp_cli.specs import load_spec

    spec = load_spec(given["model"], given["overrides"]) if given["model"] else None
    size = given["input_size"]
    if spec is None and given["overrides"]:
        raise click.UsageError("--set changes a spec; name it with --model")
    if given["pretrained"]:
        return load_checkpoint(_published(given, spec), spec, input_size=size)
    if given["ckpt"] is None:
        raise click.UsageError("name a checkpoint: --ckpt FILE, or --ckpt sample to try it")
    if given["ckpt"] == SAMPLE:
        return load_checkpoint(sample.CHECKPOINT, spec, given["ema"], SAMPLE, size)
    return load_checkpoint(given["ckpt"], spec, given["ema"], input_size=size)


def _published(given: dict[str, Any], spec: ModelSpec | None) -> Path:
    from s2mlp_cli.checkpoints.pretrained import fetch_weights

    if spec is None or given["ckpt"] is not None:
        raise click.UsageError("--pretrained takes the place of --ckpt, and needs --model")
    return fetch_weights(spec)


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
    given: dict[str, Any], checkpoint: Checkpoint, images: ImageSet, group: Processes
) -> Settings:
    from s2mlp_cli.data.real_labels import real_labels
    from s2mlp_cli.measure.environment import usable_cores
    from s2mlp_cli.measure.torch_support import target
    from s2mlp_cli.measure.validating.plan import Settings
    from s2mlp_cli.measure.validating.processes import choose_workers

    workers = given["workers"]
    return Settings(
        preprocessing=_preprocessing(given, checkpoint),
        shift=given["shift"],
        device=str(target(given["device"], group.local_rank)),
        dtype=given["dtype"],
        batch_size=given["batch_size"],
        workers=choose_workers(usable_cores(), group.local_count) if workers is None else workers,
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
    from s2mlp_cli.preprocessing import Preprocessing

    known = checkpoint.preprocessing or default_preprocessing(checkpoint.spec)
    names = ("input_size", "crop_pct", "interpolation", "mean", "std", "transform")
    asked = {name: given[name] for name in names if given[name] is not None}
    return Preprocessing.model_validate({**known.model_dump(), **asked})
