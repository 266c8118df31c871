"""Pictures of horizontal bars: speeds, groups, parts of a model, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s2mlp_cli import units
from s2mlp_cli.views.svg import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Samples that are drawn as dots; of more, as many quantiles.
_MOST_DOTS = 40
# With more classes than these, a curve over the sorted classes tells more than their names.
_MOST_CLASSES = 30


@dataclass(frozen=True)
class Bar:
    """One speed with its 95 % interval and samples; ``hollow``: its result need not be right."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    samples: tuple[float, ...] = ()
    hollow: bool = False


def speeds(bars: Sequence[Bar], unit: str, title: str) -> canvas.Drawing:
    """Draw one bar each, the fastest on top, samples as dots, the interval as a line."""
    ordered = sorted(bars, key=lambda bar: -bar.value)
    known = [
        *(["line: 95 % interval"] if any(bar.interval for bar in bars) else []),
        *(["dots: samples"] if any(len(bar.samples) > 1 for bar in bars) else []),
        *(["hollow: not a true shift"] if any(bar.hollow for bar in bars) else []),
    ]

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for place, bar in enumerate(ordered):
            _speed(axes, place, bar)
        axes.set_yticks(range(len(ordered)), [canvas.short(bar.label) for bar in ordered])
        # Centred under the whole picture: under axes beside long names it would be cut.
        figure.supxlabel("; ".join([unit, *known]), fontsize=9, color=canvas.QUIET)
        axes.margins(x=0.16)
        axes.set_xlim(left=0)
        canvas.horizontal(axes)

    return canvas.Drawing(plot, canvas.bars_height(len(ordered)), title)


def _speed(axes: Axes, place: int, bar: Bar) -> None:
    colour = canvas.OWN.get(bar.label, canvas.SERIES[0])
    fill = "none" if bar.hollow else colour
    axes.barh(place, bar.value, 0.62, color=fill, edgecolor=colour)
    dots = _quantiles(bar.samples) if len(bar.samples) > 1 else []
    axes.plot(
        dots, [place + 0.2] * len(dots), linestyle="none", marker="o", markersize=1.8,
        color=canvas.QUIET,
    )  # fmt: skip
    if bar.interval:
        axes.plot(bar.interval, [place, place], color=canvas.INK, linewidth=1.6)
    alone = " (n = 1)" if len(bar.samples) == 1 else ""
    axes.annotate(
        units.significant(bar.value) + alone,
        (max([bar.value, *(bar.interval or ()), *dots]), place),
        xytext=(5, 0),
        textcoords="offset points",
        verticalalignment="center",
    )


def _quantiles(samples: Sequence[float]) -> list[float]:
    ordered = sorted(samples)
    if len(ordered) <= _MOST_DOTS:
        return ordered
    return [ordered[n * (len(ordered) - 1) // (_MOST_DOTS - 1)] for n in range(_MOST_DOTS)]


def grouped(
    values: Mapping[str, Mapping[str, float]],
    unit: str,
    title: str,
    line: tuple[str, float] | None = None,
) -> canvas.Drawing:
    """Draw name -> series -> value as groups of bars, and a value that all are compared with."""
    series = list(dict.fromkeys(name for row in values.values() for name in row))
    thickness = 0.76 / max(len(series), 1)
    colours = canvas.colours(series)

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for number, name in enumerate(series):
            offset = (number - (len(series) - 1) / 2) * thickness
            rows = [(place + offset, row[name]) for place, row in enumerate(values.values())
                    if name in row]  # fmt: skip
            axes.barh(
                [place for place, _ in rows],
                [value for _, value in rows],
                0.9 * thickness,
                label=canvas.short(name, 36),
                color=colours[name],
            )
        if line:
            _line(axes, *line)
        axes.set_yticks(range(len(values)), [canvas.short(name) for name in values])
        axes.set_xlabel(unit)
        axes.set_xlim(left=0)
        canvas.horizontal(axes)
        if len(series) > 1:
            figure.legend(loc="outside lower left", ncols=2)

    rows = len(values) * (1 + 0.35 * (len(series) - 1))
    return canvas.Drawing(plot, canvas.bars_height(rows) + 0.25 + 0.09 * len(series), title)


def _line(axes: Axes, name: str, value: float) -> None:
    axes.axvline(value, color=canvas.INK, linestyle=(0, (4, 3)), linewidth=1.2)
    axes.annotate(
        name,
        (value, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 3),
        textcoords="offset points",
        horizontalalignment="right",
    )


def modules(parts: Sequence[tuple[str, int, int]], title: str) -> canvas.Drawing:
    """Draw (part, parameters, MACs) as two bars of percent per part, in the order given."""
    whole = [sum(part[column] for part in parts) or 1 for column in (1, 2)]  # type: ignore[misc]
    shares = {
        name: {"parameters": 100 * params / whole[0], "MACs": 100 * macs / whole[1]}
        for name, params, macs in parts
    }
    return grouped(shares, "% of the model", title)


def classes(accuracies: Sequence[tuple[str, float]], mean: float, title: str) -> canvas.Drawing:
    """Draw (class, top-1 as a fraction), the hardest first, and the mean over all images."""
    ordered = sorted(accuracies, key=lambda each: each[1])
    if len(ordered) <= _MOST_CLASSES:
        values = {name: {"top-1": 100 * share} for name, share in ordered}
        return grouped(values, "top-1 of the class (%)", title, ("mean over all", 100 * mean))
    shares = [100 * share for _, share in ordered]

    def curve(figure: Figure) -> None:
        axes = figure.subplots()
        axes.fill_between(range(1, len(shares) + 1), shares, color=canvas.SERIES[0], linewidth=0)
        axes.axhline(100 * mean, color=canvas.INK, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.set_xlabel("classes, the hardest first; the line is the mean over all images")
        axes.set_ylabel("top-1 (%)")
        axes.set_xlim(1, len(shares))
        axes.set_ylim(0, 100)

    return canvas.Drawing(curve, 2.6, title)
