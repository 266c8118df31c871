"""The house style of the terminal, and the only consoles there are.

Results go to stdout, progress and remarks to stderr. Piped output is plain text; NO_COLOR and
COLUMNS are honoured (rich reads both).
"""

from __future__ import annotations

from rich.console import Console
from rich.theme import Theme

THEME = Theme(
    {
        "answer": "bold",
        "good": "green",
        "bad": "bold red",
        "warn": "yellow",
        "quiet": "dim",
        "key": "cyan",
    }
)


def results_console() -> Console:
    """Return the console for results: stdout."""
    return _console(stderr=False)


def remarks_console() -> Console:
    """Return the console for progress bars and remarks: stderr."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(theme=THEME, highlight=False, stderr=stderr)
    if not console.width:  # COLUMNS=0, as programs set it that do not know: rich prints nothing
        console.width = 80
    return console


def to_text(renderable: object, width: int = 100) -> str:
    """Return what a plain terminal of ``width`` columns would show (for files and tests)."""
    console = Console(
        theme=THEME, highlight=False, width=width, no_color=True, force_terminal=False
    )
    with console.capture() as capture:
        console.print(renderable, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"
