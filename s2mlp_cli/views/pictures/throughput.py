"""Speed of each implementation of the shift, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2mlp_cli import units
from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Bar:
    """One implementation: its speed, the 95 % interval, and whether its result may be wrong."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    reference: bool = False


def svg(bars: Sequence[Bar], unit: str) -> str:
    """Draw one bar each, the fastest on top; references that compute no shift are hollow."""
    ordered = sorted(bars, key=lambda bar: -bar.value)

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for place, bar in enumerate(ordered):
            colour = canvas.SERIES[0]
            axes.barh(
                place,
                bar.value,
                0.62,
                color="none" if bar.reference else colour,
                edgecolor=colour,
            )
            low, high = bar.interval or (bar.value, bar.value)
            axes.plot([low, high], [place, place], color=canvas.INK, linewidth=1.6)
            axes.annotate(
                units.significant(bar.value),
                (high, place),
                xytext=(5, 0),
                textcoords="offset points",
                verticalalignment="center",
            )
        axes.set_yticks(range(len(ordered)), [canvas.short(bar.label) for bar in ordered])
        axes.set_xlabel(unit)
        axes.margins(x=0.14)
        axes.set_xlim(left=0)
        canvas.horizontal(axes)

    return canvas.draw(plot, canvas.bars_height(len(ordered)))
