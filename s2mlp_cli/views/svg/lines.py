"""Pictures of lines: over the batch or image size, and over a series of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2mlp_cli.views.svg import canvas
from s2mlp_cli.views.svg.canvas import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """One size: seconds per image with their interval, and peak bytes where known."""

    size: int
    seconds_per_image: float
    interval: tuple[float, float] | None = None
    peak_bytes: int | None = None


def batches(points: Mapping[str, Sequence[Point]], title: str, over: str = "batch size") -> Drawing:
    """Draw name -> points as one line each: time per image on the left, memory on the right."""
    sizes = sorted({point.size for own in points.values() for point in own})
    looks = canvas.looks(points)

    columns = canvas.legend_columns(points)

    def plot(figure: Figure) -> None:
        times, memory = figure.subplots(1, 2)
        for name, own in points.items():
            ordered = sorted(own, key=lambda point: point.size)
            _times(times, ordered, looks[name], canvas.short(name, canvas.LEGEND_LETTERS))
            known = [(p.size, p.peak_bytes / 2**20) for p in ordered if p.peak_bytes]
            memory.plot([size for size, _ in known], [mib for _, mib in known], **looks[name])
        drawn = any(point.interval for own in points.values() for point in own)
        _dress(times, sizes, over, "ms per image" + " (95 % interval)" * drawn)
        _dress(memory, sizes, over, "peak memory, MiB")
        figure.legend(loc="outside lower left", ncols=columns)

    return Drawing(plot, 2.7 + 0.18 * ((len(points) - 1) // columns), title)


def _times(axes: Axes, points: Sequence[Point], look: dict[str, object], name: str) -> None:
    sizes = [point.size for point in points]
    axes.plot(sizes, [1e3 * p.seconds_per_image for p in points], label=name, **look)  # type: ignore[arg-type]
    for point in points:
        if point.interval:
            ends = [1e3 * end for end in point.interval]
            axes.plot([point.size] * 2, ends, color=str(look["color"]), linewidth=1.0)


def _dress(axes: Axes, sizes: Sequence[int], over: str, title: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel(over)
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_ylim(bottom=0)


def trend(names: Sequence[str], rows: Mapping[str, Sequence[float | None]], title: str) -> Drawing:
    """Draw row -> value per record, each relative to its first known value."""
    looks = canvas.looks(rows)

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for label, values in rows.items():
            first = next(value for value in values if value is not None)
            known = [
                (place, 100 * (value / first - 1) if first else 0.0)
                for place, value in enumerate(values)
                if value is not None
            ]
            axes.plot(*zip(*known, strict=True), label=canvas.short(label, 84), **looks[label])
        axes.axhline(0, color=canvas.QUIET, linewidth=0.8)
        axes.set_xticks(range(len(names)), [canvas.short(name, 14) for name in names])
        axes.set_ylabel("change (%)")
        figure.legend(loc="outside lower left")

    return Drawing(plot, 2.4 + 0.19 * len(rows), title)


@dataclass(frozen=True)
class Bin:
    """The images whose highest probability is in one range: its mean, and the fraction correct."""

    confidence: float
    correct: float
    images: int


def reliability(bins: Sequence[Bin], title: str) -> Drawing:
    """Draw the accuracy over the confidence: on the diagonal, a probability means what it says."""
    most = max(each.images for each in bins)

    def plot(figure: Figure) -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        axes.plot([0, 100], [0, 100], color=canvas.QUIET, linestyle=(0, (4, 3)), linewidth=1.0)
        axes.plot(
            [100 * each.confidence for each in bins],
            [100 * each.correct for each in bins],
            color=canvas.SERIES[0], marker="o", markersize=4.5, linewidth=1.5,
        )  # fmt: skip
        axes.set_ylabel("correct (%)")
        axes.set_ylim(0, 104)
        places = [100 * each.confidence for each in bins]
        below.bar(places, [each.images for each in bins], 3.0, color=canvas.SERIES[0])
        below.set_ylabel("images")
        below.set_ylim(0, 1.15 * most)
        below.set_xlim(0, 103)
        below.set_xlabel("mean probability of the predicted class (%); dashed: as it should be")

    return Drawing(plot, 3.3, title)
