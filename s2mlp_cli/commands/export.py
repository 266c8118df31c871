"""``s2mlp export``: a model as a file for other runtimes, proven before it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import as_field, option
from s2mlp_cli.commands.output import ENDINGS, emit, made_here
from s2mlp_cli.records.export import ExportRecord, Precision
from s2mlp_cli.views.terminal import status


@dataclass(frozen=True)
class Given:
    """The command line."""

    model: str | None = option(
        "-m",
        heading="Model",
        metavar="NAME|FILE",
        shell_complete=options.complete_models,
        help="A built-in spec, a YAML file, timm:NAME, net.py:build, or a checkpoint.",
    )
    ckpt: str | None = option(
        metavar="FILE", shell_complete=options.complete_files, help="The weights."
    )
    ema: bool = option(help="Use the averaged weights of --ckpt.")
    overrides: tuple[str, ...] = as_field(options.overrides)
    shift: str | None = as_field(options.shift(default=None))
    input_size: tuple[int, int] | None = as_field(options.input_size)
    in_channels: int | None = as_field(options.in_channels)
    file: Path = option(
        "--output",
        "-o",
        heading="File",
        required=True,
        type=options.OutputFile((".onnx", ".pt2")),
        metavar="FILE.onnx|FILE.pt2",
        help="The file to write; its ending is the format.",
    )
    batch_size: int | None = option(
        type=click.IntRange(1, 2**16),
        metavar="N",
        help="Fix the number of images in the file. Default: any number.",
    )
    precision: Precision = option(
        type=click.Choice(get_args(Precision)),
        default="fp32",
        show_default=True,
        help="ONNX: fp32, fp16 or int8 (its matrix products). .pt2: fp32 or bf16.",
    )
    calibrate: Path | None = option(
        type=click.Path(exists=True, path_type=Path),
        metavar="DATA",
        help="int8: fix the ranges of activations by images of this data. Default: found at run "
        "time.",
    )
    images: int = option(
        type=click.IntRange(1),
        default=128,
        show_default=True,
        metavar="N",
        help="Images of --calibrate.",
    )
    threads: int | None = option(
        type=click.IntRange(1, 1024), help="CPU threads. Default: all cores."
    )
    output_format: str = as_field(options.output_format, heading="Report")
    record: Path | None = option(
        type=options.OutputFile(),
        metavar="FILE",
        help=f"Save what was exported and proven; the ending says how: {', '.join(ENDINGS)}.",
    )


@options.command(
    Given,
    short_help="A model as ONNX or .pt2, checked against PyTorch.",
    epilog="""
    \b
    Examples:
      s2mlp export --model v2-small -o v2-small.onnx
      s2mlp export --ckpt best.pth --shift concat -o best.pt2
      s2mlp export --ckpt best.pth --precision int8 --calibrate imagenet/val -o best.onnx
    """,
)
def command(given: Given) -> None:
    """Write a model as ONNX or as torch's ExportedProgram (.pt2).

    The file is run on random images at two batch sizes, and on the sample's images for the sample's
    weights, and compared with PyTorch in float32. A file that differs by more than its precision
    explains is not kept, and the command ends with 3.
    """
    from s2mlp_cli.measure.environment import environment
    from s2mlp_cli.measure.exporting import calibration_batches, export
    from s2mlp_cli.measure.source import open_model
    from s2mlp_cli.runtimes.packages import versions

    if given.model is None and given.ckpt is None:
        raise click.UsageError("name what to export: --model NAME, or --ckpt FILE")
    with status("loading the model") as tell:
        model = open_model(
            given.model,
            given.ckpt,
            overrides=given.overrides,
            input_size=given.input_size,
            in_channels=given.in_channels,
            averaged=given.ema,
        )
        calibration = None
        if given.calibrate:
            calibration = calibration_batches(model, given.calibrate, given.images)
        result = export(
            model,
            given.file,
            shift=given.shift,
            precision=given.precision,
            batch_size=given.batch_size,
            calibration=calibration,
            threads=given.threads or environment().cpu_count,
            tell=tell,
        )
    record = made_here(ExportRecord, versions=versions(), results=(result,))
    emit(record, given.output_format, given.record)
