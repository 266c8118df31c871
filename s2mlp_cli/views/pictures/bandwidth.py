"""How close each implementation of the shift comes to the speed at which memory can be copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(rates: Mapping[str, Mapping[str, float]], limit: float | None) -> str:
    """Draw shift -> map -> bytes/s as groups of bars, and the measured copy rate as a line."""
    maps = list(dict.fromkeys(name for row in rates.values() for name in row))
    thickness = 0.76 / max(len(maps), 1)

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for number, name in enumerate(maps):
            offset = (number - (len(maps) - 1) / 2) * thickness
            places = [place + offset for place, row in enumerate(rates.values()) if name in row]
            values = [row[name] / 1e9 for row in rates.values() if name in row]
            axes.barh(
                places,
                values,
                0.9 * thickness,
                label=canvas.short(name, 24),
                color=canvas.colour(number),
            )
        if limit:
            axes.axvline(limit / 1e9, color=canvas.INK, linestyle=(0, (4, 3)), linewidth=1.2)
            axes.annotate(
                "copy, measured",
                (limit / 1e9, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-4, 3),
                textcoords="offset points",
                horizontalalignment="right",
            )
        axes.set_yticks(range(len(rates)), [canvas.short(name) for name in rates])
        axes.set_xlabel("GB/s, one read and one write")
        axes.set_xlim(left=0)
        canvas.horizontal(axes)
        if len(maps) > 1:
            figure.legend(loc="outside lower left", ncols=3)

    return canvas.draw(plot, canvas.bars_height(len(rates) * (1 + 0.35 * (len(maps) - 1))) + 0.25)
