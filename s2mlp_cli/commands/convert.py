"""``s2mlp convert``: a checkpoint under any known names, written under this project's names."""

from __future__ import annotations

from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.errors import printable
from s2mlp_cli.views.terminal import remarks_console


@click.command(
    short_help="Write a checkpoint as safetensors with its spec inside.",
    epilog="""
    \b
    Examples:
      s2mlp convert --ckpt third-party.pth -o ours.safetensors
      s2mlp convert --ckpt third-party.pth --model v2-small -o ours.safetensors
      s2mlp convert --ckpt gan.pth --weights discriminator -o ours.safetensors
    """,
)
@click.option(
    "--ckpt",
    required=True,
    metavar="FILE",
    shell_complete=options.complete_files,
    help="Weights in PyTorch or safetensors; for a sharded checkpoint its index or folder.",
)
@options.ema
@options.weights
@click.option(
    "--model",
    "-m",
    metavar="NAME|FILE",
    shell_complete=options.complete_models,
    help="Model, if the checkpoint's tensors do not identify it.",
)
@options.overrides
@options.input_size
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.safetensors",
    help="The file to write.",
)
def command(
    ckpt: str,
    ema: bool,
    weights: str | None,
    model: str | None,
    overrides: tuple[str, ...],
    input_size: tuple[int, int] | None,
    output: Path,
) -> None:
    """Write a checkpoint as safetensors with its spec inside.

    Wrappers and prefixes are removed, and third-party names are translated. The logits before and
    after are compared.
    """
    from s2mlp_cli import sample
    from s2mlp_cli.checkpoints.convert import convert
    from s2mlp_cli.checkpoints.loading import load_checkpoint
    from s2mlp_cli.specs import load_spec

    if overrides and model is None:
        raise click.UsageError("--set changes a spec; name it with --model")
    if output.suffix != ".safetensors":
        raise click.BadParameter(f"'{output}' should end with .safetensors", param_hint="-o")
    spec = load_spec(model, overrides) if model else None
    file = sample.CHECKPOINT if ckpt == sample.NAME else ckpt
    checkpoint = load_checkpoint(file, spec, ema, input_size=input_size, weights=weights)
    difference = convert(checkpoint, output)
    for sentence in checkpoint.facts.stated:
        remarks_console().print(f"• {sentence}", style="warn", markup=False, soft_wrap=True)
    click.echo(
        f"{printable(output)}: {checkpoint.spec.name}, {len(checkpoint.state)} tensors with "
        f"{checkpoint.facts.layout} names; logits differ by at most {difference:.3g}"
    )
