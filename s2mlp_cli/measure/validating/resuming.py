"""The files that keep the progress of a run, so that another can go on from it."""

from __future__ import annotations

import glob
from pathlib import Path

from s2mlp_cli.files import TEMPORARY
from s2mlp_cli.measure.validating.plan import Plan
from s2mlp_cli.measure.validating.processes import Processes
from s2mlp_cli.measure.validating.table import ImageTable

# Where Ctrl-C leaves the progress of a run that was not told where to keep it.
INTERRUPTED = Path("s2mlp-validate.partial")


def resumed_table(plan: Plan, path: Path | None) -> ImageTable:
    """Return the table with every image that an earlier run scored, in whatever process.

    Those that it could not decode are tried again: they may have been restored since.
    """
    table = ImageTable.empty(len(plan.positions))
    for part in _written_files(path):
        table.merge(ImageTable.load(part, plan.key))
    table.retry_broken()
    return table


def progress_file(path: Path, group: Processes) -> Path:
    """Return the file of this process: each writes its own, all of them are read."""
    return path if group.is_first else path.with_name(f"{path.name}.rank{group.rank}")


def _written_files(path: Path | None) -> list[Path]:
    if path is None:
        return []
    own = [path] if path.exists() else []
    return own + sorted(path.parent.glob(f"{glob.escape(path.name)}.rank*"))


def finish(table: ImageTable, plan: Plan, path: Path) -> None:
    """Leave one file with the rows of all processes, and nothing of runs that were killed."""
    table.save(path, plan.key)
    name = glob.escape(path.name)
    for pattern in (f"{name}.rank*", f".{name}.*{TEMPORARY}"):
        for part in path.parent.glob(pattern):
            part.unlink()
