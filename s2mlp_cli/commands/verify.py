"""``s2mlp verify``: every implementation of the shift against the reference."""

from __future__ import annotations

from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import Words
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.records.verify import DTYPE_NAMES, VerifyRecord
from s2mlp_cli.shifts import registry
from s2mlp_cli.views.terminal import remarks_console


@click.command(
    short_help="Check that every shift computes what the papers define.",
    epilog="""
    \b
    Examples:
      s2mlp verify
      s2mlp verify --shift conv,fused --dtype fp32,bf16
      s2mlp verify --device cuda -o verify.json
    """,
)
@options.shifts(default="all")
@options.device
@click.option(
    "--dtype",
    "dtypes",
    type=Words(DTYPE_NAMES),
    default=",".join(DTYPE_NAMES),
    help="Dtypes, separated by commas. Default: every one that runs on the device.",
)
@options.seed("Seed of the random maps.")
@options.output
def command(
    *,
    shifts: str,
    device: str | None,
    dtypes: tuple[str, ...],
    seed: int,
    output_format: str,
    output: Path | None,
) -> int:
    """Check that every implementation computes the shift that the papers define.

    Compares values and gradients with a reference implementation, bit for bit. `all` includes
    `inplace`, the papers' pseudocode executed literally, as an expected failure. Exits with 1 if
    any other implementation is wrong, or `inplace` is right.
    """
    names = (*registry.parse("all"), "inplace") if shifts == "all" else registry.parse(shifts)

    from s2mlp_cli.measure.torch_support import target
    from s2mlp_cli.measure.verifying.verify import verify

    with remarks_console().status("importing") as status:
        results = verify(
            names,
            target(device),
            dtypes,
            seed,
            progress=lambda name: status.update(f"checking {name}"),
        )
    record = made_here(VerifyRecord, results=results)
    emit(record, output_format, output)
    return 0 if record.as_expected else 1
