"""Accuracy over multiply-adds and over parameters: all families, published and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """A model: its multiply-adds, parameters and top-1 in percent; filled when measured here."""

    family: str
    label: str
    macs: float
    params: float
    top1: float
    measured: bool = False


def svg(points: Sequence[Point]) -> str:
    """Draw top-1 over MACs on the left and over parameters on the right; name what is measured."""
    families = list(dict.fromkeys(point.family for point in points))
    looks = {family: canvas.line(number) for number, family in enumerate(families)}

    def plot(figure: Figure) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, title, across in zip(panels, _TITLES, (_gigamacs, _millions), strict=True):
            for point in points:
                look = looks[point.family]
                _mark(axes, across(point), point.top1, look, point.measured)
                if point.measured:
                    _name(axes, point.label, across(point), point.top1)
            axes.set_xlabel(title)
        panels[0].set_ylabel("top-1 (%)")
        for family, look in looks.items():
            _mark(panels[0], [], [], look, False, family)
        if any(point.measured for point in points):
            _mark(panels[0], [], [], {"color": canvas.INK, "marker": "o"}, True, "measured here")
        figure.legend(loc="outside lower left", ncols=4)

    return canvas.draw(plot, 3.0 + 0.18 * (len(families) // 4))


_TITLES = ("GMACs", "M parameters")


def _gigamacs(point: Point) -> float:
    return point.macs / 1e9


def _millions(point: Point) -> float:
    return point.params / 1e6


def _mark(
    axes: Axes, x: Any, y: Any, look: Mapping[str, Any], filled: bool, label: str | None = None
) -> None:
    """Draw one mark, hollow unless ``filled``; without coordinates it is an entry of the legend."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=look["marker"],
        markersize=6,
        color=look["color"],
        markerfacecolor=look["color"] if filled else "none",
        label=label,
    )


def _name(axes: Axes, label: str, x: float, y: float) -> None:
    axes.annotate(
        canvas.short(label, 20),
        (x, y),
        xytext=(0, -5),
        textcoords="offset points",
        horizontalalignment="center",
        verticalalignment="top",
        fontsize=8,
    )
