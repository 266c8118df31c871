"""``s2mlp audit``: do the papers' figures follow from the papers' models?"""

from __future__ import annotations

from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.output import emit, made_here
from s2mlp_cli.records.audit import AuditRecord
from s2mlp_cli.views.terminal import status

# Value of ``--table`` -> the papers whose rows it means.
TABLES = {"v1": ("v1",), "v2": ("v2",), "all": ("v1", "v2"), "baselines": ("baselines",)}


@click.command(
    short_help="Every published figure of the papers, recomputed.",
    epilog="""
    \b
    Examples:
      s2mlp audit
      s2mlp audit --table v2 --format markdown
      s2mlp audit -o audit.json
    """,
)
@click.option(
    "--table",
    type=click.Choice(list(TABLES)),
    default="all",
    show_default=True,
    help="Tables of S2-MLP v1, of v2, of both, or of the comparison models.",
)
@options.output
def command(table: str, output_format: str, output: Path | None) -> int:
    """Recompute the published parameters and FLOPs, and give each figure a verdict.

    A figure agrees to the printed digits, agrees in binary units (2^20, 2^30), agrees after a
    stated correction, or differs. The exit code is 3 if a verdict is not the expected one.
    """
    from s2mlp_cli.papers import published_rows

    with status("counting") as tell:
        from s2mlp_cli.measure.counting.audit import audit
        from s2mlp_cli.measure.counting.count import count_parts

        cells = audit(
            published_rows(*TABLES[table]),
            count_parts,
            progress=lambda model: tell(f"counting {model}"),
        )
    record = made_here(AuditRecord, results=cells)
    emit(record, output_format, output)
    return 3 if record.changed else 0
