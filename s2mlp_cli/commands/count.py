"""``s2mlp count``: parameters, multiply-accumulates and activations, published figures beside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import as_field, option
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.errors import S2MLPError
from s2mlp_cli.records.base import BASELINE, LARGEST_BATCH
from s2mlp_cli.user_code import names_code
from s2mlp_cli.views.count import sheet, view
from s2mlp_cli.views.count_sheet import By
from s2mlp_cli.views.terminal import status


@dataclass(frozen=True)
class Given:
    """The command line."""

    named: tuple[str, ...] = as_field(
        click.argument(
            "named", metavar="[MODEL]...", nargs=-1, shell_complete=options.complete_models
        ),
        heading="Model",
    )
    models: tuple[str, ...] = as_field(options.models())
    ckpts: tuple[str, ...] = as_field(options.ckpts)
    weights: str | None = as_field(options.weights)
    ema: bool = as_field(options.ema)
    every: bool = option("--all", help="Count every built-in spec.")
    overrides: tuple[str, ...] = as_field(options.overrides)
    input_sizes: tuple[tuple[int, int], ...] = as_field(options.input_sizes)
    in_channels: int | None = as_field(options.in_channels)
    shift: str = as_field(options.shift(BASELINE), heading="Count")
    batch_size: int = option(
        type=click.IntRange(1, LARGEST_BATCH),
        default=1,
        show_default=True,
        help="Number of images. All figures but the parameters grow with it.",
    )
    by: By = option(
        heading="Report",
        type=click.Choice(get_args(By)),
        default="model",
        show_default=True,
        help="Show one row per model, its modules as a tree, or its operators.",
    )
    depth: int = option(
        type=click.IntRange(1, 20),
        default=3,
        show_default=True,
        help="Levels of the tree of --by module.",
    )
    output_format: str = as_field(options.output_format)
    output: Path | None = as_field(options.output_file)


@options.command(
    Given,
    short_help="Parameters and FLOPs beside the published figures.",
    epilog="""
    \b
    Examples:
      s2mlp count --model v2-medium
      s2mlp count v1-wide v1-deep --format markdown
      s2mlp count v2-small --input-size 256 --shift conv --by operator
      s2mlp count v2-small mixer-b16 --input-size 224 --input-size 384
      s2mlp count v2-small --set stages.0.depth=2 --by module --depth 2
      s2mlp count --ckpt best.pth
      s2mlp count --model net.py:build --set width=96 --input-size 64
      s2mlp count v1-deep --shift mine.py:my_shift --set step=1
    """,
)
def command(given: Given) -> None:
    """Count parameters, FLOPs and activations, and show the published figures beside them.

    MODEL is a built-in name, a YAML spec, timm:NAME, a checkpoint, or a function or class in a
    Python file (net.py:build). With --ckpt, --model names the checkpoint's architecture.

    One multiply-accumulate (MAC) is one multiply-add, which the papers call a FLOP. The number is
    checked three ways (fvcore, the closed form of the spec, torch's FlopCounterMode), and the
    command fails if they differ. Models are traced on the meta device, so nothing is allocated or
    computed.

    If a model does not support a size, the table says why. The exit code is 0 if anything was
    counted, and 1 otherwise.
    """
    from s2mlp_cli.measure.settings import code_arguments, share_out
    from s2mlp_cli.measure.source import open_models
    from s2mlp_cli.records.count import CountRecord
    from s2mlp_cli.specs import names

    models, shift = given.models, given.shift
    named = names() if given.every else given.named
    if given.ckpts and len(models) > 1:
        raise click.UsageError("--ckpt takes one --model, its architecture; give others as MODEL")
    if not (named or models or given.ckpts):
        raise click.UsageError(
            "name a model: `s2mlp count v2-medium` (`s2mlp models` lists them), or use --all"
        )
    with status("counting"):
        alone = given.ckpts if not models else ()
        own = (shift,) if names_code(shift) else ()
        shared = share_out(given.overrides, (*named, *models, *alone), own)
        opened = open_models(
            named, models, given.ckpts, overrides=shared, in_channels=given.in_channels,
            averaged=given.ema, weights=given.weights,
        )  # fmt: skip
        if own:
            from s2mlp_cli.shifts.contender import open_shift

            shift = open_shift(shift, code_arguments(shared[shift], shift)).name

        from s2mlp_cli.measure.counting.count import count_sizes

        results, refused = count_sizes(opened, given.input_sizes, shift, given.batch_size)
        record = made_here(CountRecord, results=results, refused=refused)
    tables: dict[str, Any] = {"by": given.by, "depth": given.depth}
    emit(
        record, given.output_format, given.output, partial(view, **tables), partial(sheet, **tables)
    )
    if record.disagreeing:
        wrong = ", ".join(result.model for result in record.disagreeing)
        raise S2MLPError(
            f"the counters disagree on {wrong}; do not trust these numbers, and please report the "
            "model"
        )
