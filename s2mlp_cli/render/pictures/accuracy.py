"""Accuracy over multiply-adds and over parameters: all families, published and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2mlp_cli.render.pictures import canvas

if TYPE_CHECKING:
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
    """Draw top-1 over MACs on the left and over parameters on the right."""
    families = list(dict.fromkeys(point.family for point in points))

    def plot(figure: Figure) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, title in zip(panels, ("GMACs", "M parameters"), strict=True):
            for number, family in enumerate(families):
                for point in (each for each in points if each.family == family):
                    across = point.macs / 1e9 if title == "GMACs" else point.params / 1e6
                    look = canvas.line(number)
                    colour = look["color"]
                    axes.plot(
                        across,
                        point.top1,
                        linestyle="none",
                        marker=look["marker"],
                        markersize=6,
                        color=colour,
                        markerfacecolor=colour if point.measured else "none",
                    )
            axes.set_xlabel(title)
        panels[0].set_ylabel("top-1 (%)")
        handles = [
            panels[0].plot([], [], linestyle="none", markersize=6, label=family, **_look(number))[0]
            for number, family in enumerate(families)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)

    return canvas.draw(plot, 3.0 + 0.18 * ((len(families) - 1) // 4))


def _look(number: int) -> dict[str, str]:
    look = canvas.line(number)
    return {"marker": look["marker"], "color": look["color"], "markerfacecolor": "none"}
