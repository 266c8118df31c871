"""Where a model's parameters and multiply-adds are: one bar each per part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(parts: Sequence[tuple[str, int, int]]) -> str:
    """Draw (part, parameters, MACs) as two bars of percent per part, in the order given."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for column, (title, shift) in enumerate((("parameters", -0.19), ("MACs", 0.19)), 1):
            whole = sum(part[column] for part in parts) or 1  # type: ignore[misc]
            shares = [100 * part[column] / whole for part in parts]  # type: ignore[operator]
            places = [row + shift for row in range(len(parts))]
            axes.barh(places, shares, 0.36, label=title, color=canvas.SERIES[column - 1])
        axes.set_yticks(range(len(parts)), [canvas.short(part[0]) for part in parts])
        axes.set_xlabel("part of the model (%)")
        canvas.horizontal(axes)
        figure.legend(loc="outside upper left", ncols=2)

    return canvas.draw(plot, canvas.bars_height(len(parts)) + 0.25)
