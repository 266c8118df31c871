"""How the rows of a series of records moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from s2mlp_cli.views.pictures import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(names: Sequence[str], lines: Mapping[str, Sequence[float | None]]) -> str:
    """Draw row -> value per record, each relative to its first known value."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (label, values) in enumerate(lines.items()):
            first = next(value for value in values if value is not None)
            known = [
                (place, 100 * (value / first - 1) if first else 0.0)
                for place, value in enumerate(values)
                if value is not None
            ]
            axes.plot(
                *zip(*known, strict=True), label=canvas.short(label, 84), **canvas.line(number)
            )
        axes.axhline(0, color=canvas.QUIET, linewidth=0.8)
        axes.set_xticks(range(len(names)), [canvas.short(name, 14) for name in names])
        axes.set_ylabel("change (%)")
        figure.legend(loc="outside lower left")

    return canvas.draw(plot, 2.4 + 0.19 * len(lines))
