"""Time and memory over the batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """One batch size: seconds per image, and peak bytes where they are known."""

    batch_size: int
    seconds_per_image: float
    peak_bytes: int | None = None


def svg(lines: Mapping[str, Sequence[Point]]) -> str:
    """Draw shift -> points as one line each: time per image on the left, memory on the right."""
    sizes = sorted({point.batch_size for points in lines.values() for point in points})

    def plot(figure: Figure) -> None:
        times, memory = figure.subplots(1, 2)
        for number, (label, points) in enumerate(lines.items()):
            look, name = canvas.line(number), canvas.short(label, 20)
            ordered = sorted(points, key=lambda point: point.batch_size)
            batches = [point.batch_size for point in ordered]
            times.plot(
                batches,
                [1e3 * p.seconds_per_image for p in ordered],
                label=name,
                **look,
            )
            known = [p for p in ordered if p.peak_bytes is not None]
            memory.plot(
                [p.batch_size for p in known], [(p.peak_bytes or 0) / 2**20 for p in known], **look
            )
        _dress(times, sizes, "ms per image")
        _dress(memory, sizes, "peak memory, MiB")
        figure.legend(loc="outside lower left", ncols=4)

    return canvas.draw(plot, 2.7 + 0.18 * ((len(lines) - 1) // 4))


def _dress(axes: Axes, sizes: Sequence[int], title: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("batch size")
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_ylim(bottom=0)
