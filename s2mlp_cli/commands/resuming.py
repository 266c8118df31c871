"""`s2mlp profile --resume`: reading the record to go on with, and what is said when it stops."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from s2mlp_cli.commands.output import emit, save
from s2mlp_cli.errors import RecordError, WriteError
from s2mlp_cli.views.terminal import remarks_console

if TYPE_CHECKING:
    from s2mlp_cli.records.profile import ProfileRecord


def previous_record(path: Path) -> ProfileRecord | None:
    """Read the record to go on with; None if it is not there yet, which is said.

    A run that is stopped early leaves no file: the command that resumes it begins it as well.

    Raises:
        RecordError: the file is no record of a profile.
    """
    from s2mlp_cli.records.profile import ProfileRecord
    from s2mlp_cli.records.reading import read_record

    if not path.exists():
        remark = f"{path} is not there yet: it begins now"
        remarks_console().print(remark, style="quiet", soft_wrap=True)
        return None
    record = read_record(path)
    if not isinstance(record, ProfileRecord):
        raise RecordError(
            f"{path} is a record of {record.kind}, which profile cannot resume; "
            "give the file that an earlier `s2mlp profile -o` wrote"
        )
    return record


def stopped(
    record: ProfileRecord, lost: str | None, output_format: str, output: Path | None
) -> None:
    """Keep what was measured before Ctrl-C, and say what is lost and how to go on.

    Args:
        record: of the cases that were finished.
        lost: the case that was not, in words.
        output_format: for stdout, where there is no file.
        output: the file that ``record`` goes to.
    """
    kept = f"{len(record.results)} rows"
    lost = f"; {lost}, was not finished and is lost" if lost else ""
    if output is None:
        emit(record, output_format, None)
        remark = f"{kept} were measured{lost}; next time -o FILE.json keeps them for --resume"
    else:
        save_or_show(record, output_format, output)
        words = (*_without_resume(sys.argv[1:]), "--resume", str(output))
        remark = f"{kept} are in {output}{lost}; go on with: s2mlp {shlex.join(words)}"
    remarks_console().print(remark, style="warn", soft_wrap=True)


def save_or_show(record: ProfileRecord, output_format: str, output: Path) -> None:
    """Save what was measured; where the disk does not take it, print it before that is said.

    Raises:
        WriteError: it could not be written.
    """
    try:
        save(record, output)
    except WriteError:
        emit(record, output_format, None)
        raise


def _without_resume(words: list[str]) -> Iterator[str]:
    """Leave out ``--resume FILE`` and ``--resume=FILE``: the rows of that file were copied."""
    left = iter(words)
    for word in left:
        if word == "--resume":
            next(left, None)
        elif not word.startswith("--resume="):
            yield word
