"""The progress bar of a validation, with the running top-1, on stderr."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from s2mlp_cli.views.console import remarks_console

if TYPE_CHECKING:
    from s2mlp_cli.measure.validating.loop import Progress as RunProgress


class ValidationProgress:
    """Shows how far a validation is; a pipe gets only the remarks, no bar.

    Args:
        total: images of the run.
        processes: how many share them: this one's count stands for all.
        shown: False in the processes that report nothing.
    """

    def __init__(self, total: int, processes: int = 1, shown: bool = True) -> None:
        self.console = remarks_console()
        self.processes = processes
        self.bar = Progress(
            TextColumn("top-1 {task.fields[top1]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (shown and self.console.is_terminal),
        )
        self.shown = shown
        self.task = self.bar.add_task("", total=total, top1="–")

    def __enter__(self) -> ValidationProgress:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def on_batch(self, progress: RunProgress) -> None:
        """Move the bar."""
        top1 = f"{progress.correct1 / progress.images:.2%}" if progress.images else "–"
        self.bar.update(self.task, completed=progress.images * self.processes, top1=top1)

    def on_broken(self, name: str, reason: str) -> None:
        """Show a broken image above the bar."""
        self.say(f"broken image {name}: {reason}")

    def on_kept(self, path: Path) -> None:
        """Say how to go on from a run that something ends."""
        self.say(f"what was measured is kept; go on with --resume {path}")

    def say(self, sentence: str) -> None:
        """Print a remark above the bar."""
        if self.shown:
            self.bar.console.print(escape(sentence), style="warn", soft_wrap=True)
