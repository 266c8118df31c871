"""``s2mlp export``: a model as a file for other runtimes, proven before it is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.output import ENDINGS, FORMATS, emit, made_here
from s2mlp_cli.records.export import ExportRecord, Precision
from s2mlp_cli.views.terminal import remarks_console

# Images that fix the ranges of a static int8 file.
CALIBRATION_IMAGES = 128


@click.command(
    short_help="A model as ONNX or .pt2, checked against PyTorch.",
    epilog="""
    \b
    Examples:
      s2mlp export --model v2-small -o v2-small.onnx
      s2mlp export --ckpt best.pth --shift concat -o best.pt2
      s2mlp export --ckpt best.pth --precision int8 --calibrate imagenet/val -o best.onnx
    """,
)
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE",
    shell_complete=options.complete_models,
    help="A built-in spec, a YAML file, timm:NAME, net.py:build, or a checkpoint.",
)
@click.option("--ckpt", metavar="FILE", shell_complete=options.complete_files, help="The weights.")
@click.option("--ema", is_flag=True, help="Use the averaged weights of --ckpt.")
@options.overrides
@options.shift(default=None)
@options.input_size
@options.in_channels
@click.option(
    "--batch-size",
    type=click.IntRange(1, 2**16),
    metavar="N",
    help="Fix the number of images in the file. Default: any number.",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="fp32",
    show_default=True,
    help="ONNX: fp32, fp16 or int8 (its matrix products). .pt2: fp32 or bf16.",
)
@click.option(
    "--calibrate",
    type=click.Path(exists=True, path_type=Path),
    metavar="DATA",
    help="int8: fix the ranges of activations by images of this data. Default: found at run time.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=CALIBRATION_IMAGES,
    show_default=True,
    metavar="N",
    help="Images of --calibrate.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads. Default: all cores.")
@click.option(
    "--output",
    "-o",
    "file",
    required=True,
    type=options.OutputFile((".onnx", ".pt2")),
    metavar="FILE.onnx|FILE.pt2",
    help="The file to write; its ending is the format.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="What is printed.",
)
@click.option(
    "--record",
    type=options.OutputFile(),
    metavar="FILE",
    help=f"Save what was exported and proven; the ending says how: {', '.join(ENDINGS)}.",
)
def command(
    model: str | None,
    ckpt: str | None,
    ema: bool,
    overrides: tuple[str, ...],
    shift: str | None,
    input_size: tuple[int, int] | None,
    in_channels: int | None,
    batch_size: int | None,
    precision: Precision,
    calibrate: Path | None,
    images: int,
    threads: int | None,
    file: Path,
    output_format: str,
    record: Path | None,
) -> None:
    """Write a model as ONNX or as torch's ExportedProgram (.pt2).

    The file is run on random images at two batch sizes, and on the sample's images for the sample's
    weights, and compared with PyTorch in float32. A file that differs by more than its precision
    explains is not kept, and the command ends with 3.
    """
    from s2mlp_cli.measure.environment import environment
    from s2mlp_cli.measure.exporting import ExportSettings, calibration_batches, export
    from s2mlp_cli.measure.source import open_model
    from s2mlp_cli.runtimes.packages import versions

    if model is None and ckpt is None:
        raise click.UsageError("name what to export: --model NAME, or --ckpt FILE")
    with _spinner() as tell:
        given = open_model(
            model,
            ckpt,
            overrides=overrides,
            input_size=input_size,
            in_channels=in_channels,
            averaged=ema,
        )
        batches = calibration_batches(given, calibrate, images) if calibrate else None
        settings = ExportSettings(
            path=file,
            shift=shift,
            precision=precision,
            batch_size=batch_size,
            calibration=batches,
            threads=threads or environment().cpu_count,
        )
        result = export(given, settings, tell)
    emit(made_here(ExportRecord, versions=versions(), results=(result,)), output_format, record)


@contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is going on; yields the function that changes the words."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    with remarks_console().status("loading the model") as status:
        yield status.update
