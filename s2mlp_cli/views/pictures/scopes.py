"""Where the time of a traced run goes, scope by scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(scopes: Sequence[tuple[str, float]]) -> str:
    """Draw (scope, seconds) as one bar each, in the order given; scopes may hold one another."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        values = [1e3 * seconds for _, seconds in scopes]
        colours = [canvas.SERIES[1 if "shift" in name else 0] for name, _ in scopes]
        axes.barh(range(len(scopes)), values, 0.62, color=colours)
        axes.set_yticks(range(len(scopes)), [canvas.short(name) for name, _ in scopes])
        axes.set_xlabel("ms inside the scope, inner scopes included; shifts stand out")
        canvas.horizontal(axes)

    return canvas.draw(plot, canvas.bars_height(len(scopes)))
