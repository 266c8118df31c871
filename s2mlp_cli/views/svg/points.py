"""Pictures of points: accuracy over cost or speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2mlp_cli.views.svg import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        axes.set_xscale("log")
        axes.set_xlabel(across)
        axes.set_ylabel("top-1 (%)")
        axes.margins(0.09)
        _plain_ticks(axes)
        _labels(figure, axes, marks)
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
_PLACES = (
    (5, 0, "left"), (-5, 0, "right"), (0, 7, "center"), (0, -7, "center"),
    (5, 6, "left"), (5, -6, "left"), (-5, 6, "right"), (-5, -6, "right"),
    (6, 12, "left"), (6, -12, "left"), (-6, 12, "right"), (-6, -12, "right"),
)  # fmt: skip


def _labels(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """Name the marks, each where it covers no other name and no mark, the highest first."""
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    spots = {id(mark): axes.transData.transform((mark.x, mark.y)) * scale for mark in marks}
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in spots.values()]
    for mark in sorted(marks, key=lambda mark: (-mark.filled, -mark.y)):
        text = canvas.short(mark.label, 24)
        x, y = spots[id(mark)]
        boxes = [(_box(x + dx, y + dy, text, side), dx, dy, side) for dx, dy, side in _PLACES]
        box, dx, dy, side = min(boxes, key=lambda each: sum(_overlap(each[0], t) for t in taken))
        taken.append(box)
        axes.annotate(
            text, (mark.x, mark.y), xytext=(dx, dy), textcoords="offset points",
            horizontalalignment=side, verticalalignment="center", fontsize=6.5,
        )  # fmt: skip


Box = tuple[float, float, float, float]


def _box(x: float, y: float, text: str, side: str) -> Box:
    """Return the box of a text in points; a letter of 6.5 points is about 3.7 wide."""
    width = 3.7 * len(text)
    left = {"left": x, "right": x - width, "center": x - width / 2}[side]
    return left, y - 3.5, left + width, y + 3.5


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
