"""The progress bar: on stderr, with the time left, silent when stderr is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from s2mlp_cli.views.terminal import remarks_console

# (what is going on, seconds done, seconds that it may take at most).
Tell = Callable[[str, float, float], None]


@contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Tell]:
    """Show a bar for work that is measured in seconds; yields the function that moves it."""
    console = console or remarks_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("starting", total=None, left="")

        def tell(what: str, done: float, total: float) -> None:
            left = f"at most {max(total - done, 0):.0f} s left"
            progress.update(task, description=what, completed=done, total=total, left=left)

        yield tell


@contextmanager
def step_shown() -> Iterator[Callable[[str], None]]:
    """Show a spinner beside what is going on, on a terminal only; yields what changes the words."""
    console = remarks_console()
    if not console.is_terminal:
        yield lambda step: None
        return
    with console.status("starting") as status:
        yield status.update
