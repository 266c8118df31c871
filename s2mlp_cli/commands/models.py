"""``s2mlp models``: the built-in specs."""

from __future__ import annotations

import click

from s2mlp_cli.commands.output import show


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
    from s2mlp_cli.specs import load_spec, names
    from s2mlp_cli.views.catalogue import catalogue
    from s2mlp_cli.views.terminal import screen

    chosen = [name for name in names() if pattern is None or pattern in name]
    show(screen(catalogue([load_spec(name) for name in chosen], pattern)))
