"""The errors that a user can cause, each a sentence that says what to do next.

Everything that s2mlp raises on purpose derives from :class:`S2MLPError`. The command line has one
place that catches it (:func:`s2mlp_cli.cli.main`), prints the sentence and ends with
``exit_code``; anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

# Halves of a character that no name on a disk decodes to, but a "\\ud800" in a JSON text does.
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def printable(name: str | os.PathLike[str]) -> str:
    r"""Return a name as text that every file and terminal takes.

    Python keeps the bytes of a name that is not UTF-8 as lone surrogates, which cannot be written
    out; they become ``\xe9``. Read files by the name itself, and keep this one in records.
    """
    text = _LONE.sub(lambda half: ascii(half[0])[1:-1], os.fspath(name))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def visible(text: str) -> str:
    r"""Return text on one line in which what does not print is escaped: ``\\x1b``, ``\\n``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class S2MLPError(Exception):
    """A fault that the user can mend; the message is one sentence, ending with the remedy.

    What it quotes out of a file cannot break its line, paint the terminal or fill it: what does
    not print is escaped, and the middle of an endless sentence is left out.
    """

    exit_code = 1

    def __init__(self, sentence: str) -> None:
        if len(sentence) > _LONGEST:
            sentence = f"{sentence[: _LONGEST // 2]} […] {sentence[-_LONGEST // 3 :]}"
        super().__init__(visible(printable(sentence)))


# Characters that a person still reads; two paths of the greatest length that is usual fit.
_LONGEST = 1200


class SpecError(S2MLPError):
    """A model spec that is wrong: names the file, the line, the key, what was found and allowed.

    ``reason`` is what is allowed and why, for a table whose row names the rest already.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message

    @classmethod
    def of_size(
        cls,
        model: str,
        size: tuple[int, int],
        reason: str,
        native: tuple[int, int] | None = None,
    ) -> SpecError:
        """Return the error of an image size; it ends with the size that the model was made for."""
        if native is not None and native != size:
            reason += f"; its native size is {native[0]}x{native[1]}"
        return cls(f"{model} at {size[0]}x{size[1]}: {reason}", reason)


class ExportError(S2MLPError):
    """A model that cannot be exported, or an exported file that cannot be read or run."""


class GateError(S2MLPError):
    """A check that failed: the result is what it is, and the command ends with 3."""

    exit_code = 3


class UserCodeError(S2MLPError):
    """Python code that the user named cannot be imported, fails, or returns something else."""


class UnavailableError(S2MLPError):
    """Something that exists but cannot run here (no such device, dtype or library); says why."""


class WriteError(S2MLPError):
    """A file that cannot be written: its folder is missing, read-only or full."""


class RecordError(S2MLPError):
    """A saved record that cannot be read: another program's file, cut off, or another version."""


class ProgressError(S2MLPError):
    """A file of progress that is something else, or belongs to another run."""


class CheckpointError(S2MLPError):
    """A checkpoint that cannot be read, is refused, or does not fit the model."""


class DataError(S2MLPError):
    """A data set that is missing, empty, damaged or does not fit its labels."""


# Names that a sentence suggests.
_MOST_NAMES = 8


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x' or 'y'?"``, or an empty string when nothing known is near.

    They are the names that begin like ``name``, the shortest first; else those that contain it;
    else the one that looks most like it.
    """
    names, given = list(known), name.lower()
    begun = [each for each in names if given and each.lower().startswith(given)]
    alike = begun or [each for each in names if len(given) > 1 and given in each.lower()]
    found = sorted(alike, key=len) or difflib.get_close_matches(name, names, n=1)
    if not found:
        return ""
    *others, last = (f"'{each}'" for each in found[:_MOST_NAMES])
    if len(found) > _MOST_NAMES:
        others, last = [*others, last], f"{len(found) - _MOST_NAMES} more"
    return f"; did you mean {' or '.join([', '.join(others), last] if others else [last])}?"
