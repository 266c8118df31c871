"""``s2mlp show``: one spec with everything that it inherits."""

from __future__ import annotations

import click

from s2mlp_cli.commands import options


@click.command(
    short_help="One spec with all that it inherits, as YAML.",
    epilog="""
    \b
    Examples:
      s2mlp show v2-medium
      s2mlp show v2-small --set stages.0.depth=2
    """,
)
@click.argument("model", metavar="NAME|FILE", shell_complete=options.complete_models)
@options.overrides
def command(model: str, overrides: tuple[str, ...]) -> None:
    """Print one spec as YAML, resolved: bases merged, overrides applied, defaults filled in.

    The output is a spec itself: `s2mlp show v2-small > mine.yaml` is a start for your own.
    """
    from s2mlp_cli.specs import load_spec
    from s2mlp_cli.views.catalogue import spec_yaml

    click.echo(spec_yaml(load_spec(model, overrides)), nl=False)
