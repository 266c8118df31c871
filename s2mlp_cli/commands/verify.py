"""``s2mlp verify``: is every implementation of the shift what the papers define?"""

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
    short_help="Every shift held to its definition, values and gradients.",
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
    help="Precisions, with commas between. Default: every one that runs on the device.",
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
    """Hold every implementation of the shift to its definition, values and gradients.

    `all` includes `inplace`, the papers' pseudocode executed literally, which has to come out
    wrong. Ends with 1 when anything is not as it should be.
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
