"""The one way a picture is drawn: a small figure in the house style, as a clean SVG.

The same numbers always give the same bytes: no date, no random ids. Colours are chosen for light
paper; :data:`DARK` says what each becomes when the reader's screen is dark, as CSS that works in
an HTML page and in a file of its own alike (a viewer without CSS shows the light one).
"""

from __future__ import annotations

import io
import itertools
import logging
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s2mlp_cli.errors import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID = "#1f2937", "#5b6472", "#e3e6eb"
# Colour-blind eyes can tell them apart too: they differ in lightness, and marks differ in shape.
SERIES = (
    *("#2f6fb3", "#3d8b5a", "#8a5aa8", "#b3404a", "#7a6a2f", "#1d7f8c", "#c2549a", "#6b5344"),
)
# Names that have the same colour in every picture, which no other series has.
OWN = {"fused": "#c8641b"}

MARKS = ("o", "s", "^", "D", "v", "P", "X", "p")

DARK = {
    INK: "#e6e9ee",
    QUIET: "#a3acba",
    GRID: "#343b46",
    "#ffffff": "#161a20",
    "#2f6fb3": "#6aa9e9",
    "#c8641b": "#f0975a",
    "#3d8b5a": "#6fc48f",
    "#8a5aa8": "#c195dd",
    "#b3404a": "#ee7f88",
    "#7a6a2f": "#cdb96a",
    "#1d7f8c": "#58c4d1",
    "#c2549a": "#ef94cb",
    "#6b5344": "#b99f8d",
}

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "s2mlp",
    "text.parse_math": False,  # a "$" in somebody's model name is a "$"
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 3.2,  # long enough to show a dashed line
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

# Inches: text of 9 points stays readable when a phone shrinks the picture to its width.
WIDTH = 4.8
LEGEND_LETTERS = 20
_TITLE_WIDTH = 56  # letters of a line of the title

_FONTS = "font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Drawing:
    """What ``plot`` will draw on an empty figure, ``height`` inches high, below a title."""

    plot: Callable[[Figure], None]
    height: float
    title: str

    def svg(self) -> str:
        """Return the SVG document: without dates and random ids, text kept as text."""
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        return _clean(self._saved("svg", metadata=metadata).decode())

    def file(self, form: str) -> bytes:
        """Return the content of a file: ``svg``, ``pdf`` or ``png``."""
        if form == "svg":
            return standalone(self.svg()).encode()
        dates = {"CreationDate": None} if form == "pdf" else {}
        return self._saved(form, metadata=dates, dpi=200, facecolor="white")

    def _saved(self, form: str, **options: Any) -> bytes:
        # It says where its fonts are cached, and when that cannot be at home: no reader's concern.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        import matplotlib as mpl
        from matplotlib.figure import Figure

        heading = textwrap.wrap(_one_line(self.title), _TITLE_WIDTH, max_lines=4, placeholder=" …")
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            # Text stays text: it is the reader's fonts that have to know its letters.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            size = (WIDTH, self.height + 0.17 * len(heading))
            figure = Figure(figsize=size, layout="constrained")
            if heading:
                figure.suptitle(
                    "\n".join(heading), x=0.012, ha="left", fontsize=9.5, fontweight="bold"
                )
            self.plot(figure)
            stream = io.BytesIO()
            figure.savefig(stream, format=form, **options)
        return stream.getvalue()


def shared_css() -> str:
    """Return the rules that every picture needs, among them its colours on a dark screen."""
    rules = "".join(
        f'[style*="fill: {light}"]{{fill:{dark} !important}}'
        f'[style*="stroke: {light}"]{{stroke:{dark} !important}}'
        for light, dark in DARK.items()
    )
    joints = "svg *{stroke-linejoin:round;stroke-linecap:butt}"
    return f"{joints}@media screen and (prefers-color-scheme: dark){{{rules}}}"


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name; those of :data:`OWN` have theirs in every picture."""
    others = itertools.cycle(SERIES)
    return {name: OWN.get(name) or next(others) for name in dict.fromkeys(names)}


def legend_columns(names: Iterable[str]) -> int:
    """Return how many entries of a legend fit beside each other, at most four."""
    longest = max(len(short(name, LEGEND_LETTERS)) for name in names)
    return max(1, min(4, int(WIDTH / (0.6 + 0.065 * longest))))


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return for each name how matplotlib is to draw its line: no two look the same."""
    found = colours(names)
    return {
        name: {
            "color": colour,
            "marker": "*" if name in OWN else MARKS[(number + number // len(MARKS)) % len(MARKS)],
            "markersize": 7 if name in OWN else 4.5,
            "linestyle": ("-", "--", ":")[number // (len(SERIES) + 1) % 3],
            "linewidth": 1.5,
        }
        for number, (name, colour) in enumerate(found.items())
    }


def short(label: str, most: int = 44) -> str:
    """Return a name that leaves room for the picture: the middle of a long one is left out."""
    label = _one_line(label)
    half = (most - 1) // 2
    return label if len(label) <= most else f"{label[:half]}…{label[-half:]}"


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


def bars_height(count: float) -> float:
    """Return the height in inches of a chart with ``count`` horizontal bars."""
    return 0.85 + 0.27 * max(count, 2)


def horizontal(axes: Axes) -> None:
    """Dress axes for horizontal bars: first row on top, only vertical grid lines."""
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def standalone(svg: str) -> str:
    """Return a picture as a file of its own, with its dark colours inside."""
    style = f"<style>{shared_css()}</style>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{svg.replace(">", f">{style}", 1)}'


def with_prefix(svg: str, prefix: str) -> str:
    """Return the picture with ``prefix`` before its ids, so that one page can hold several."""
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)


def _clean(svg: str) -> str:
    """Drop the prologue and the ids that nothing refers to, and set the fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", rf"font-size: \1px; {_FONTS}", svg)
    return re.sub(r"font-family: [^;\"]*DejaVu[^;\"]*", _FONTS, svg)
