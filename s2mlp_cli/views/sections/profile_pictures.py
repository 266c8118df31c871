"""Which pictures a profile has: speeds, distance to the copy rate, batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from s2mlp_cli import units
from s2mlp_cli.records.profile import ProfileRecord, ProfileResult
from s2mlp_cli.records.profile_rows import (
    implementation,
    peak_bytes,
    rankings,
    rate_interval,
    setting,
    where,
)
from s2mlp_cli.views import ranking
from s2mlp_cli.views.document import Picture
from s2mlp_cli.views.pictures import bandwidth, batch, throughput


def pictures(record: ProfileRecord) -> tuple[Picture, ...]:
    """Return all the pictures that the rows of a record allow."""
    timed = [row for row in record.results if row.median_s is not None]
    models = [row for row in timed if row.level == "model"]
    operations = [row for row in timed if row.level == "op"]
    return (
        *_rankings(record),
        *_throughput(models),
        *_bandwidth(operations, record),
        *_batches(models),
    )


def _groups(
    rows: Sequence[ProfileResult], name: Callable[[ProfileResult], str]
) -> Iterator[tuple[int, str, list[ProfileResult]]]:
    """Yield the rows of each name, numbered."""
    found: dict[str, list[ProfileResult]] = {}
    for row in rows:
        found.setdefault(name(row), []).append(row)
    for number, (title, group) in enumerate(found.items(), 1):
        yield number, title, group


def _throughput(rows: Sequence[ProfileResult]) -> Iterator[Picture]:
    for number, title, group in _groups(rows, lambda row: f"{row.model}: {setting(row)}"):
        bars = [_bar(row, implementation(row)) for row in group]
        if len(bars) == 1:
            continue
        fastest = max(bars, key=lambda bar: bar.value)
        known = " (95 % interval)" if any(bar.interval for bar in bars) else ""
        yield Picture(
            name=f"speed-{number}",
            title=f"Images per second, {title}",
            description=f"Bars of images per second{known} for {len(bars)} "
            f"implementations; {fastest.label} has the most, {units.significant(fastest.value)}.",
            draw=partial(throughput.svg, bars, f"images/s{known}; hollow: no true shift"),
        )


def _rankings(record: ProfileRecord) -> Iterator[Picture]:
    for number, ranked in enumerate(rankings(record.results), 1):
        first = ranked[0].row
        bars = [_bar(row, row.model) for _, row in ranked]
        yield Picture(
            name=f"models-{number}",
            title=f"Images per second of each model, {ranking.conditions(first)}",
            description=f"Bars of images per second for {len(bars)} models; {first.model} has the "
            f"most, {units.significant(bars[0].value)}.",
            draw=partial(throughput.svg, bars, "images/s"),
        )


def _bar(row: ProfileResult, label: str) -> throughput.Bar:
    return throughput.Bar(
        label=label,
        value=row.images_per_s or 0.0,
        interval=rate_interval(row),
        reference=row.reference is not None,
    )


def _bandwidth(rows: Sequence[ProfileResult], record: ProfileRecord) -> Iterator[Picture]:
    for number, title, group in _groups(rows, lambda row: f"{row.model}: {setting(row)}"):
        rates: dict[str, dict[str, float]] = {}
        for row in group:
            if row.bytes_per_s and not row.reference:
                rates.setdefault(implementation(row), {})[_map(row)] = row.bytes_per_s
        if rates:
            found = record.limit_of(group[0])
            limit = found.copy_bytes_per_s if found else None
            yield Picture(
                name=f"bandwidth-{number}",
                title=f"Bandwidth of the shift alone, {title}",
                description="Bars of the bytes per second that each implementation of the shift "
                "reaches, beside the copy rate that was measured on the same device.",
                draw=partial(bandwidth.svg, rates, limit),
            )


def _map(row: ProfileResult) -> str:
    return f"stage {row.stage}, {'×'.join(map(str, row.shape[1:]))}"


def _batches(rows: Sequence[ProfileResult]) -> Iterator[Picture]:
    for number, title, group in _groups(
        rows, lambda row: f"{where(row)}: {setting(row, batch=False)}"
    ):
        if len({row.batch_size for row in group}) > 1:
            lines: dict[str, list[batch.Point]] = {}
            for row in group:
                lines.setdefault(implementation(row), []).append(_point(row))
            yield Picture(
                name=f"batch-{number}",
                title=f"Time and memory over the batch size, {title}",
                description="Lines of milliseconds per image and of peak memory over the batch "
                f"size, one for each of {len(lines)} implementations.",
                draw=partial(batch.svg, lines),
            )


def _point(row: ProfileResult) -> batch.Point:
    return batch.Point(row.batch_size, (row.median_s or 0.0) / row.batch_size, peak_bytes(row))
