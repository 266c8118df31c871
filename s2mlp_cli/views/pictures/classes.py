"""Accuracy of every class: which are hard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# With more classes than these, a curve over the sorted classes tells more than their names.
MOST_BARS = 30


def svg(classes: Sequence[tuple[str, float]], mean: float) -> str:
    """Draw (class, top-1 as a part of one), the hardest first, and the mean over all images."""
    ordered = sorted(classes, key=lambda each: each[1])
    shares = [100 * share for _, share in ordered]

    def bars(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(range(len(shares)), shares, 0.62, color=canvas.SERIES[0])
        axes.set_yticks(range(len(shares)), [canvas.short(name) for name, _ in ordered])
        axes.axvline(100 * mean, color=canvas.INK, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.set_xlabel("top-1 of the class (%); the line is the mean over all images")
        axes.set_xlim(0, 100)
        canvas.horizontal(axes)

    def curve(figure: Figure) -> None:
        axes = figure.subplots()
        axes.fill_between(range(1, len(shares) + 1), shares, color=canvas.SERIES[0], linewidth=0)
        axes.axhline(100 * mean, color=canvas.INK, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.set_xlabel("classes, the hardest first; the line is the mean over all images")
        axes.set_ylabel("top-1 (%)")
        axes.set_xlim(1, len(shares))
        axes.set_ylim(0, 100)

    if len(ordered) <= MOST_BARS:
        return canvas.draw(bars, canvas.bars_height(len(ordered)))
    return canvas.draw(curve, 2.6)
