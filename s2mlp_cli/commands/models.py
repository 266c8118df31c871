"""``s2mlp models``: the built-in specs."""

from __future__ import annotations

import click

from s2mlp_cli.commands.output import show
from s2mlp_cli.errors import SpecError, did_you_mean


@click.command(
    short_help="The built-in specs.",
    epilog="""
    \b
    Examples:
      s2mlp models
      s2mlp models v2
    """,
)
@click.argument("pattern", required=False)
def command(pattern: str | None) -> None:
    """List the built-in specs; PATTERN keeps the names that contain it."""
    from s2mlp_cli.specs import built_in, names
    from s2mlp_cli.views.catalogue import catalogue

    chosen = [name for name in names() if pattern is None or pattern in name]
    if not chosen:
        near = did_you_mean(str(pattern), names()) or ";"
        raise SpecError(
            f"no built-in spec has '{pattern}' in its name{near} `s2mlp models` lists all "
            f"{len(names())}"
        )
    show(catalogue([built_in(name) for name in chosen], pattern))
