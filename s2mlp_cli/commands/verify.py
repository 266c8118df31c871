"""``s2mlp verify``: every implementation of the shift against the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import Words, as_field, option
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.records.verify import DTYPE_NAMES, VerifyRecord
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import Layout
from s2mlp_cli.user_code import names_code
from s2mlp_cli.views.terminal import status


@dataclass(frozen=True)
class Given:
    """The command line."""

    shifts: str = as_field(options.shifts(default="all"), heading="What")
    module: str | None = option(
        metavar="FILE.py:NAME",
        help="Compare a copy of the plug-in module S2Attention with this program's.",
    )
    arguments: tuple[str, ...] = option(
        "--set",
        multiple=True,
        metavar="KEY=VALUE",
        help="An argument of a shift or module from a Python file. Repeatable.",
    )
    layout: Layout | None = option(
        type=click.Choice(get_args(Layout)),
        help="Memory format that a shift from a Python file takes. Default: found by calling it.",
    )
    device: str | None = as_field(options.device, heading="Check")
    dtypes: tuple[str, ...] = option(
        "--dtype",
        type=Words(DTYPE_NAMES),
        default=",".join(DTYPE_NAMES),
        help="Dtypes, separated by commas. Default: every one that runs on the device.",
    )
    seed: int = as_field(options.seed("Seed of the random maps."))
    output_format: str = as_field(options.output_format, heading="Report")
    output: Path | None = as_field(options.output_file)


@options.command(
    Given,
    short_help="Check that shift implementations are correct, yours too.",
    epilog="""
    \b
    Examples:
      s2mlp verify
      s2mlp verify --shift conv,fused --dtype fp32,bf16
      s2mlp verify --device cuda -o verify.json
      s2mlp verify --shift mine.py:spatial_shift1
      s2mlp verify --module theirs.py:S2Attention --set channels=64
      s2mlp verify --shift mine.py:my_shift --set step=2 --layout B,C,H,W
    """,
)
def command(given: Given) -> int:
    """Check that shift implementations compute what the papers define, gradients included.

    `all` includes `inplace`, the papers' pseudocode executed literally: an expected failure. A
    function from a Python file (mine.py:my_shift) is called as a black box, and the report says in
    words what it computes: which channels move where, what it does at the border, and what breaks.

    The exit code is 1 if a built-in implementation does not behave as expected, or a function from
    a file is not a shift.
    """
    chosen = click.get_current_context().get_parameter_source("shifts")
    shifts = "" if given.module and chosen is ParameterSource.DEFAULT else given.shifts
    names = registry.parse(shifts) if shifts or not given.module else ()
    if "all" in shifts.replace(" ", "").split(","):
        names = tuple(dict.fromkeys((*names, "inplace")))
    foreign = [name for name in names if names_code(name)]
    if (given.arguments or given.layout) and not (foreign or given.module):
        raise click.UsageError("--set and --layout are for code from a file: mine.py:my_shift")

    from s2mlp_cli.measure.settings import code_arguments, share_out
    from s2mlp_cli.measure.torch_support import target
    from s2mlp_cli.measure.verifying.foreign import explain
    from s2mlp_cli.measure.verifying.modules import explain_module
    from s2mlp_cli.measure.verifying.verify import verify

    place = target(given.device)
    with status("importing") as tell:
        results = verify(
            [name for name in names if name not in foreign],
            place,
            given.dtypes,
            given.seed,
            progress=lambda name: tell(f"checking {name}"),
        )
        code = (*foreign, given.module) if given.module else foreign
        shared = {
            name: code_arguments(texts, name)
            for name, texts in share_out(given.arguments, (), code).items()
        }
        explained = []
        for name in foreign:
            tell(f"probing {name}")
            explained.append(explain(name, shared[name], given.layout, place))
        if given.module:
            tell(f"comparing {given.module}")
            explained.append(explain_module(given.module, shared[given.module]))
    record = made_here(VerifyRecord, results=results, foreign=tuple(explained))
    emit(record, given.output_format, given.output)
    return 0 if record.as_expected else 1
