"""``s2mlp show``: one spec with everything that it inherits, or the spec of a checkpoint."""

from __future__ import annotations

import click

from s2mlp_cli.commands import options
from s2mlp_cli.errors import SpecError
from s2mlp_cli.views.terminal import remarks_console


@click.command(
    short_help="One spec as YAML, with all that it inherits.",
    epilog="""
    \b
    Examples:
      s2mlp show v2-medium
      s2mlp show v2-small --set stages.0.depth=2
      s2mlp show --ckpt best.pth
    """,
)
@click.argument(
    "named", metavar="[NAME|FILE]", required=False, shell_complete=options.complete_models
)
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE",
    shell_complete=options.complete_models,
    help="The same as the argument; with --ckpt, its architecture.",
)
@click.option(
    "--ckpt",
    metavar="FILE",
    shell_complete=options.complete_files,
    help="A checkpoint, whose spec is read off its tensors or metadata.",
)
@options.ema
@options.weights
@options.overrides
@options.input_size
def command(
    named: str | None,
    model: str | None,
    ckpt: str | None,
    ema: bool,
    weights: str | None,
    overrides: tuple[str, ...],
    input_size: tuple[int, int] | None,
) -> None:
    """Print one spec as YAML: bases merged, overrides applied, defaults filled in.

    The output is a spec itself: `s2mlp show v2-small > mine.yaml` is a start for your own.
    Comments at its end draw what each split does to its channels.
    """
    from s2mlp_cli.measure.source import open_model
    from s2mlp_cli.views.catalogue import spec_yaml

    if named is not None and model is not None:
        raise click.UsageError(f"{named} and --model {model} both name the model; give one")
    given = open_model(
        named or model, ckpt, overrides=overrides, input_size=input_size, averaged=ema,
        weights=weights,
    )  # fmt: skip
    if given.spec is None:
        exported = given.source.kind == "exported"
        remedy = (
            "show what it was exported from"
            if exported
            else f"`s2mlp count {named or model}` describes it"
        )
        raise SpecError(f"{given.name} has no spec; {remedy}")
    for note in given.notes:
        remarks_console().print(f"• {note}", style="warn", markup=False, soft_wrap=True)
    click.echo(spec_yaml(given.spec), nl=False)
