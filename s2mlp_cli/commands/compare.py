"""``s2mlp compare``: two records against each other, or a series of them."""

from __future__ import annotations

from pathlib import Path

import click

from s2mlp_cli.commands import options
from s2mlp_cli.commands.output import emit
from s2mlp_cli.compare import compare_prediction_files, compare_sides, read_side
from s2mlp_cli.records.compare import CompareRecord
from s2mlp_cli.records.predictions import ENDINGS

# The exit status of a gate that fails; 1 and 2 are errors.
GATE_FAILED = 3


@click.command(
    short_help="Saved records against each other; a gate for CI.",
    no_args_is_help=True,
    epilog="""
    \b
    Examples:
      s2mlp compare before.json after.json
      s2mlp compare before.json after.json --fail-slower 5%
      s2mlp compare january.json february.json march.json
      s2mlp compare ours.parquet theirs.parquet
      s2mlp compare fp32 int8
    """,
)
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--fail-slower",
    type=options.percentage,
    metavar="PERCENT",
    help="Exit 3 if a row is slower by more than PERCENT (95 % confidence) or no longer runs.",
)
@options.output
@click.pass_context
def command(
    ctx: click.Context,
    records: tuple[Path, ...],
    fail_slower: float | None,
    output_format: str,
    output: Path | None,
) -> None:
    """Compare RECORDS of one kind: the last is judged against the first.

    A folder is read as the records in it, one of each kind: with what `export --record`,
    `profile -o` and `validate -o` saved of two files, one table has their size, error, speed and
    accuracy.

    Times are judged relative to `slice` in the same rounds, so that what the machine did between
    the runs cancels out. With more than two records, from the oldest to the newest, every row shows
    its trend. Two files of `s2mlp validate --predictions` get McNemar's test, and so do two records
    that name theirs.

    Exit status: 0; 1 for an error, or where nothing was timed; 2 for wrong usage; 3 if
    --fail-slower fails.
    """
    if len(records) < 2:
        raise click.UsageError("give two records or more: s2mlp compare A.json B.json")
    record = _compare(records, fail_slower)
    emit(record, output_format, output)
    if record.failed:
        ctx.exit(GATE_FAILED)


def _compare(paths: tuple[Path, ...], fail_slower: float | None) -> CompareRecord:
    predictions = [path.suffix in ENDINGS for path in paths]
    if not any(predictions):
        return compare_sides(list(map(read_side, paths)), fail_slower)
    if not all(predictions) or len(paths) > 2 or fail_slower is not None:
        raise click.UsageError(
            "compare files of predictions two at a time, without records and without --fail-slower"
        )
    from s2mlp_cli.measure.environment import environment

    return compare_prediction_files(paths[0], paths[1], environment())
