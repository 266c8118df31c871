"""Pictures of points: accuracy over cost or speed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from s2mlp_cli.views.svg import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Within a factor of so much a logarithmic axis would have one tick or none.
_NARROW = 4


@dataclass(frozen=True)
class Mark:
    """One model; filled when its accuracy was measured."""

    family: str
    label: str
    x: float
    y: float
    filled: bool = False


def scatter(marks: Sequence[Mark], across: str, more_is_better: bool, title: str) -> canvas.Drawing:
    """Draw top-1 over a cost or a speed: every point labelled, the Pareto front as a line."""
    looks = canvas.looks(mark.family for mark in marks)
    front = pareto_front(marks, more_is_better)

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(
            [mark.x for mark in front], [mark.y for mark in front], color=canvas.QUIET,
            linestyle=(0, (4, 3)), linewidth=1.0, zorder=1,
        )  # fmt: skip
        for family, look in looks.items():
            for filled in (False, True):
                own = [m for m in marks if (m.family, m.filled) == (family, filled)]
                axes.plot(
                    [mark.x for mark in own], [mark.y for mark in own], linestyle="none",
                    marker=look["marker"], markersize=6, color=look["color"],
                    markerfacecolor=look["color"] if filled else "none",
                    label=None if filled else family,
                )  # fmt: skip
        if max(each.x for each in marks) > _NARROW * min(each.x for each in marks):
            axes.set_xscale("log")
            _plain_ticks(axes)
        axes.set_xlabel(across)
        axes.set_ylabel("top-1 (%)")
        axes.margins(0.09)
        _labels(figure, axes, marks, front)
        figure.legend(loc="outside lower left", ncols=4)

    return canvas.Drawing(plot, 3.9, title)


def pareto_front(marks: Sequence[Mark], more_is_better: bool) -> list[Mark]:
    """Return the marks that no other one equals or beats in both, from the best ``x`` on."""
    front: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (-m.x if more_is_better else m.x, -m.y)):
        if not front or mark.y > front[-1].y:
            front.append(mark)
    return front


def _plain_ticks(axes: Axes) -> None:
    """Write 10 and not 10^1 at the ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))


# Where a label may go, in points from its mark: (x, y, alignment).
_PLACES: tuple[tuple[float, float, Literal["left", "right", "center"]], ...] = (
    (5, 0, "left"), (-5, 0, "right"), (0, 9, "center"), (0, -9, "center"),
    (5, 6, "left"), (5, -6, "left"), (-5, 6, "right"), (-5, -6, "right"),
    (6, 12, "left"), (6, -12, "left"), (-6, 12, "right"), (-6, -12, "right"),
    (0, 14, "center"), (0, -14, "center"), (8, 18, "left"), (8, -18, "left"),
)  # fmt: skip


def _labels(figure: Figure, axes: Axes, marks: Sequence[Mark], front: Sequence[Mark]) -> None:
    """Name the marks, the highest first, each where it covers no name, no mark and no line."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()  # it settles where the axes are
    scale = 72 / figure.dpi
    spots = axes.transData.transform([(mark.x, mark.y) for mark in marks]) * scale
    line = axes.transData.transform([(mark.x, mark.y) for mark in front]) * scale
    steps = [step for ends in itertools.pairwise(line) for step in np.linspace(*ends, 50)]
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in spots]
    taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in steps]
    left, bottom, _, top = (side * scale for side in axes.bbox.extents)
    taken.append((0.0, bottom, left, top))  # the numbers of the axis
    order = sorted(range(len(marks)), key=lambda n: (-marks[n].filled, -marks[n].y))
    for mark, (x, y) in ((marks[n], spots[n]) for n in order):
        label = axes.annotate(
            canvas.short(mark.label, 24), (mark.x, mark.y), (0, 0), textcoords="offset points",
            verticalalignment="center", fontsize=6.5,
        )  # fmt: skip
        extent = label.get_window_extent(renderer)
        size = extent.width * scale, extent.height * scale
        boxes = [(_box(x + dx, y + dy, *size, side), (dx, dy), side) for dx, dy, side in _PLACES]
        box, label.xyann, side = min(
            boxes, key=lambda each: sum(_overlap(each[0], other) for other in taken)
        )
        label.set_horizontalalignment(side)
        taken.append(box)


Box = tuple[float, float, float, float]


def _box(x: float, y: float, width: float, height: float, side: str) -> Box:
    """Return the box of a text in points, with a little air around it."""
    left = {"left": x, "right": x - width, "center": x - width / 2}[side]
    return left - 1, y - height / 2 - 1, left + width + 1, y + height / 2 + 1


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
