"""``s2mlp count``: parameters, multiply-accumulates and activations, published figures beside."""

from __future__ import annotations

from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.errors import S2MLPError


@click.command(
    short_help="Parameters and FLOPs beside the published figures.",
    epilog="""
    \b
    Examples:
      s2mlp count --model v2-medium
      s2mlp count --model v1-wide --model v1-deep --format markdown
      s2mlp count --model v2-small --input-size 256 --shift conv --by operator
      s2mlp count --model v2-small --model mixer-b16 --input-size 224 --input-size 384
      s2mlp count --model v2-small --set stages.0.depth=2 --by module --depth 2
    """,
)
@options.models()
@click.option("--all", "every", is_flag=True, help="Count every built-in spec.")
@options.overrides
@options.input_sizes
@options.shift()
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Images; every figure but the parameters grows with it.",
)
@click.option(
    "--by",
    type=click.Choice(["model", "module", "operator"]),
    default="model",
    show_default=True,
    help="One row per model, or its modules as a tree, or its operators.",
)
@click.option(
    "--depth",
    type=click.IntRange(1, 20),
    default=3,
    show_default=True,
    help="Levels of the tree of --by module.",
)
@options.output
def command(
    models: tuple[str, ...],
    every: bool,
    overrides: tuple[str, ...],
    input_sizes: tuple[tuple[int, int], ...],
    shift: str,
    batch_size: int,
    by: str,
    depth: int,
    output_format: str,
    output: Path | None,
) -> None:
    """Count parameters, FLOPs and activations, and show the published figures beside them.

    One multiply-accumulate (MAC) is one multiply-add = 1: what the papers call a FLOP. The
    number is checked three ways (fvcore, the closed form of the spec, torch's FlopCounterMode);
    the command fails if they differ. Nothing is allocated or computed: models are traced on the
    meta device.

    A size that a model cannot take stands in the table with the reason. The exit code is 0 as long
    as anything was counted, 1 if nothing was.
    """
    from s2mlp_cli.specs import load_spec, names

    chosen = names() if every else models
    if not chosen:
        raise click.UsageError(
            "name a model: --model v2-medium (`s2mlp models` lists them), or --all"
        )
    specs = [load_spec(name, overrides) for name in chosen]

    from s2mlp_cli.measure.counting.audit import published_figures
    from s2mlp_cli.measure.counting.count import count_sizes
    from s2mlp_cli.records.count import CountRecord

    counted, refused = count_sizes(specs, input_sizes, shift, batch_size)
    results = [
        result.model_copy(update={"published": published_figures(result)}) for result in counted
    ]
    record = made_here(
        CountRecord,
        results=tuple(results),
        refused=refused,
    )
    emit(record, output_format, output, by=by, depth=depth)
    disagreeing = [result for result in results if not result.crosscheck.agree]
    if disagreeing:
        check = disagreeing[0].crosscheck
        raise S2MLPError(
            f"the counters disagree on {disagreeing[0].model}: fvcore {check.fvcore:,}, "
            f"closed form {check.closed_form}, FlopCounterMode {check.flop_counter:,} MACs; "
            "do not trust these numbers, and please report this spec"
        )
