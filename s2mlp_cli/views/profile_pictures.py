"""The pictures of a profile: speeds as bars, bandwidth, and lines over batch and image size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from s2mlp_cli import units
from s2mlp_cli.records.base import REFERENCE
from s2mlp_cli.records.profile import ProfileRecord, ProfileResult
from s2mlp_cli.records.profile_rows import implementation, peak_bytes, setting
from s2mlp_cli.views.document import Picture
from s2mlp_cli.views.profile_tables import grouped
from s2mlp_cli.views.ranking import rankings, rate, rate_interval, way
from s2mlp_cli.views.svg import bars, lines


def pictures(record: ProfileRecord) -> Iterator[Picture]:
    """Yield whatever the rows have enough for."""
    timed = [row for row in record.results if row.median_s is not None]
    models = [row for row in timed if row.level == "model" and row.shift != REFERENCE]
    yield from _models(timed)
    yield from _speeds(models)
    shifts = [row for row in timed if row.level == "op" and row.shift != REFERENCE]
    yield from _bandwidths(record, shifts)
    yield from _over_batches(models)
    yield from _over_sizes(models)


def _bar(row: ProfileResult, label: str) -> bars.Bar:
    return bars.Bar(
        label=label,
        value=rate(row),
        interval=rate_interval(row),
        samples=tuple(row.batch_size / seconds for seconds in row.samples_s if seconds > 0),
        hollow=row.reference is not None,
    )


def _models(timed: Sequence[ProfileResult]) -> Iterator[Picture]:
    for number, ranked in enumerate(rankings(timed), 1):
        first = ranked[0].row
        yield Picture(
            name=f"models-{number}",
            description=f"Bars of images per second for {len(ranked)} models; {first.model} has "
            f"the most, {units.significant(rate(first))}.",
            drawing=bars.speeds(
                [_bar(row, row.model) for _, row in ranked],
                "images/s",
                title=f"Images per second of each model: {way(first)}",
            ),
        )


def _speeds(models: Sequence[ProfileResult]) -> Iterator[Picture]:
    alike = grouped((f"{row.model}, {setting(row)}", row) for row in models)
    for number, (title, group) in enumerate(alike, 1):
        if len(group) == 1:
            continue
        found = [_bar(row, implementation(row)) for row in group]
        fastest = max(found, key=lambda bar: bar.value)
        known = " with 95 % intervals" if any(bar.interval for bar in found) else ""
        yield Picture(
            name=f"speed-{number}",
            description=f"Bars of images per second{known} for {len(found)} implementations; "
            f"{fastest.label} has the most, {units.significant(fastest.value)}.",
            drawing=bars.speeds(found, "images/s", title=f"Images per second: {title}"),
        )


def _bandwidths(record: ProfileRecord, operations: Iterable[ProfileResult]) -> Iterator[Picture]:
    rows = [row for row in operations if row.bytes_per_s and not row.reference]
    alike = grouped((f"{row.model}, {setting(row)}", row) for row in rows)
    for number, (title, group) in enumerate(alike, 1):
        rates: dict[str, dict[str, float]] = {}
        for row in group:
            shape = "×".join(map(str, row.shape[1:]))
            own = rates.setdefault(implementation(row), {})
            own[f"stage {row.stage}, {shape}"] = (row.bytes_per_s or 0.0) / 1e9
        found = record.roofline_of(group[0])
        copy = found.copy_bytes_per_s if found else None
        yield Picture(
            name=f"bandwidth-{number}",
            description="Bars of the bytes per second that each implementation of the shift "
            "reaches, beside the copy rate that was measured on the same device.",
            drawing=bars.grouped(
                rates,
                "GB/s, one read and one write",
                line=("copy, measured", copy / 1e9) if copy else None,
                title=f"Bandwidth of the shift alone: {title}",
            ),
        )


def _over_batches(models: Sequence[ProfileResult]) -> Iterator[Picture]:
    alike = grouped((f"{row.model}, {setting(row, batch=False)}", row) for row in models)
    for number, (title, group) in enumerate(alike, 1):
        if len({row.batch_size for row in group}) > 1:
            points = _points(group, lambda row: row.batch_size)
            yield Picture(
                name=f"batch-{number}",
                description="Lines of milliseconds per image and of peak memory over the batch "
                f"size, one for each implementation ({len(points)}).",
                drawing=lines.batches(
                    points, title=f"Time and memory over the batch size: {title}"
                ),
            )


def _over_sizes(models: Sequence[ProfileResult]) -> Iterator[Picture]:
    alike = grouped((f"{row.model}, {setting(row, size=False)}", row) for row in models)
    for number, (title, group) in enumerate(alike, 1):
        if len({row.input_size for row in group}) > 1:
            points = _points(group, lambda row: round(math.prod(row.input_size) ** 0.5))
            yield Picture(
                name=f"size-{number}",
                description="Lines of milliseconds per image and of peak memory over the side of a "
                f"square image of as many pixels, one for each implementation ({len(points)}).",
                drawing=lines.batches(
                    points,
                    over="image size (side in pixels)",
                    title=f"Time and memory over the image size: {title}",
                ),
            )


def _points(
    rows: Iterable[ProfileResult], size: Callable[[ProfileResult], int]
) -> dict[str, list[lines.Point]]:
    """Return the time of one image and the memory, for each implementation."""
    points: dict[str, list[lines.Point]] = {}
    for row in rows:
        images = row.batch_size
        ends = (row.ci95_s[0] / images, row.ci95_s[1] / images) if row.ci95_s else None
        seconds = (row.median_s or 0.0) / images
        point = lines.Point(size(row), seconds, ends, peak_bytes(row))
        points.setdefault(implementation(row), []).append(point)
    return points
