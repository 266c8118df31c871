"""``s2mlp convert``: a checkpoint under any known names, written under this project's names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import as_field, option
from s2mlp_cli.errors import printable
from s2mlp_cli.views.terminal import remarks_console


@dataclass(frozen=True)
class Given:
    """The command line."""

    ckpt: str = option(
        heading="Options",
        required=True,
        metavar="FILE",
        shell_complete=options.complete_files,
        help="Weights in PyTorch or safetensors; for a sharded checkpoint its index or folder.",
    )
    ema: bool = as_field(options.ema)
    weights: str | None = as_field(options.weights)
    model: str | None = option(
        "-m",
        metavar="NAME|FILE",
        shell_complete=options.complete_models,
        help="Model, if the checkpoint's tensors do not identify it.",
    )
    overrides: tuple[str, ...] = as_field(options.overrides)
    input_size: tuple[int, int] | None = as_field(options.input_size)
    output: Path = option(
        "-o",
        required=True,
        type=options.OutputFile((".safetensors",)),
        metavar="FILE.safetensors",
        help="The file to write.",
    )


@options.command(
    Given,
    short_help="Write a checkpoint as safetensors with its spec inside.",
    epilog="""
    \b
    Examples:
      s2mlp convert --ckpt third-party.pth -o ours.safetensors
      s2mlp convert --ckpt third-party.pth --model v2-small -o ours.safetensors
      s2mlp convert --ckpt gan.pth --weights discriminator -o ours.safetensors
    """,
)
def command(given: Given) -> None:
    """Write a checkpoint as safetensors with its spec inside.

    Wrappers and prefixes are removed, and third-party names are translated. The logits before and
    after are compared.
    """
    from s2mlp_cli import sample
    from s2mlp_cli.checkpoints.convert import convert
    from s2mlp_cli.checkpoints.loading import load_checkpoint
    from s2mlp_cli.specs import load_spec

    if given.overrides and given.model is None:
        raise click.UsageError("--set changes a spec; name it with --model")
    spec = load_spec(given.model, given.overrides) if given.model else None
    file = sample.CHECKPOINT if given.ckpt == sample.NAME else given.ckpt
    checkpoint = load_checkpoint(
        file, spec, given.ema, input_size=given.input_size, weights=given.weights
    )
    difference = convert(checkpoint, given.output)
    for sentence in checkpoint.facts.stated:
        remarks_console().print(f"• {sentence}", style="warn", markup=False, soft_wrap=True)
    click.echo(
        f"{printable(given.output)}: {checkpoint.spec.name}, {len(checkpoint.state)} tensors with "
        f"{checkpoint.facts.layout} names; logits differ by at most {difference:.3g}"
    )
