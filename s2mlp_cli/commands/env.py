"""``s2mlp env``: what this machine offers, and why not the rest."""

from __future__ import annotations

import click

from s2mlp_cli.commands.output import show


@click.command(
    short_help="Versions, devices, and which shifts run here.",
    epilog="""
    \b
    Examples:
      s2mlp env
    """,
)
def command() -> None:
    """Show versions, devices, and which shift implementations can run here, or why not."""
    from s2mlp_cli.measure.environment import available_shifts, environment
    from s2mlp_cli.views.environment import environment_view

    show(environment_view(environment(), available_shifts()))
