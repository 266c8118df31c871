"""Draw the pictures of the terminal that the README shows, from what the commands print today.

    python benchmarks/terminal_pictures.py            write reports/pictures/*.svg
    python benchmarks/terminal_pictures.py --check    exit 1 if one of them is not today's

Measurements are shown from the records under reports/, so that a picture changes only when the
record or the program does.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "reports" / "pictures"
WIDTH = 90

# Picture -> the command that it shows, and the one whose output is the same every time.
SHOWN = {
    "count": ("count --model v2-medium", "count --model v2-medium"),
    "audit": ("audit", "report reports/audit.json"),
    "validate": ("validate --ckpt sample", "report reports/validate-sample.json"),
}

THEME = TerminalTheme(
    (22, 26, 32),
    (230, 233, 238),
    [(22, 26, 32), (238, 127, 136), (111, 196, 143), (224, 178, 90), (106, 169, 233),
     (193, 149, 221), (110, 200, 210), (230, 233, 238)],
)  # fmt: skip

# A longer output is cut, and the picture says so.
MOST_LINES = 40


def picture(name: str) -> str:
    """Return the SVG of one command and what it prints."""
    shown, run = SHOWN[name]
    lines = _output(run.split())
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ ", style="bold green") + Text(f"s2mlp {shown}", style="bold"))
    console.print(Text.from_ansi("\n".join(lines[:MOST_LINES])))
    if len(lines) > MOST_LINES:
        console.print(Text(f"… and {len(lines) - MOST_LINES} lines more", style="dim"))
    return _without_downloads(
        console.export_svg(title=f"s2mlp {shown}", theme=THEME, unique_id=f"s2mlp-{name}")
    )


def _output(arguments: list[str]) -> list[str]:
    """Return the lines that the command prints on a terminal of :data:`WIDTH` columns."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "s2mlp_cli", *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(WIDTH)},
    )
    return done.stdout.rstrip().split("\n")


def _without_downloads(svg: str) -> str:
    """Take out the fonts that rich would load from the network."""
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("font-family: Fira Code, monospace", "font-family: ui-monospace, monospace")


def texts(svg: str) -> list[str]:
    """Return the texts of a picture, which do not change with the version of rich."""
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def main() -> None:
    """Write the pictures, or say which are not up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check = parser.parse_args().check
    PICTURES.mkdir(exist_ok=True)
    stale = []
    for name in SHOWN:
        path, svg = PICTURES / f"{name}.svg", picture(name)
        if check:
            stale += (
                [] if path.exists() and texts(path.read_text("utf-8")) == texts(svg) else [name]
            )
        else:
            path.write_text(svg, encoding="utf-8")
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run python {Path(__file__).name}")


if __name__ == "__main__":
    main()
