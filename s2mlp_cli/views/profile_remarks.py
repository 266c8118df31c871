"""What a reader of a profile should know beside its rows: limits, earlier runs, what to doubt."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from s2mlp_cli import units
from s2mlp_cli.records.profile import Limit, ProfileRecord, ProfileResult

_CACHED = "over 100 % of copy: this map stays in the cache, the large tensor of the copy does not"
_OUTRUN = (
    "over 100 % of matmul: the limit is one large square product, which ran slower than the model, "
    "most likely on a busy machine: measure again when it is idle"
)
# Rows that a warning names; of more, only how many.
_NAMED = 3


def limits(record: ProfileRecord) -> Iterator[str]:
    """Yield what the device reached, for each type and number of threads."""
    for limit in record.limits:
        place = f"limits of {limit.device} in {limit.dtype}{_on_threads(limit)}"
        yield f"{place}: {', '.join(_known(limit)) or 'unknown'}"


def _known(limit: Limit) -> Iterator[str]:
    if limit.copy_bytes_per_s:
        yield f"copy {units.significant(limit.copy_bytes_per_s / 1e9)} GB/s"
    if limit.matmul_flops_per_s:
        yield f"matrix product {units.significant(limit.matmul_flops_per_s / 1e12)} TFLOP/s"


def _on_threads(limit: Limit) -> str:
    """Name the threads of a CPU; to a GPU they do not matter, and an old record has none."""
    if limit.threads is None or limit.device != "cpu":
        return ""
    return f" on {limit.threads} thread{'s' if limit.threads > 1 else ''}"


def above_limits(rows: Sequence[ProfileResult]) -> Iterator[str]:
    """Yield why a part of a limit can be over 100 %, where one is."""
    if any((row.copy_fraction or 0) > 1 for row in rows):
        yield _CACHED
    if any((row.matmul_fraction or 0) > 1 for row in rows):
        yield _OUTRUN


def earlier_runs(record: ProfileRecord) -> Iterator[str]:
    """Say of a record that was resumed which of its rows are older."""
    first = 0
    for run in record.earlier:
        last = first + run.rows
        yield (
            f"rows {first + 1} to {last} of {len(record.results)} are of "
            f"{run.created:%Y-%m-%d %H:%M} UTC, seed {run.settings.seed}"
        )
        first = last


def means(record: ProfileRecord) -> Iterator[str]:
    """Say that percentiles of quick rows are those of means: one call is too short for a clock."""
    calls = max((row.calls_per_sample or 1 for row in record.results), default=1)
    if calls > 1:
        yield f"a sample of a quick row is the mean of up to {calls:,} calls; so are p50 to p99"


def doubts(record: ProfileRecord) -> Iterator[str]:
    """Yield each warning once, with the rows that it speaks of."""
    yield from record.warnings
    several = len({row.model for row in record.results}) > 1
    pairs = sorted(
        (warning, _row_name(row, several)) for row in record.results for warning in row.warnings
    )
    for warning, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        names = [name for _, name in group]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{warning} ({', '.join(names[:_NAMED])}{more})"


def _row_name(row: ProfileResult, several: bool) -> str:
    """Return which row it is, with its model where there are several."""
    names = [row.model, row.shift] if several else [row.shift or row.model]
    stage = "" if row.stage is None else f"{row.stage}"
    return f"{' '.join(filter(None, names))} {row.level}{stage}"
