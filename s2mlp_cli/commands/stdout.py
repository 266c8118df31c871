"""What stdout does with characters that its encoding lacks."""

from __future__ import annotations

import codecs
import io
import sys

from s2mlp_cli.errors import printable

_PLAIN = {"×": "x", "–": "-", "−": "-", "…": "...", "µ": "u", "•": "*", "→": "->", "·": "."}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace what a terminal's encoding lacks: the codecs module calls this."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(map(_plain, missing)), error.end


def _plain(character: str) -> str:
    text = printable(character)
    return text if text != character else _PLAIN.get(character, "?")


def print_in_any_encoding() -> None:
    """Let stdout take every character: an ASCII terminal has no ×, and UTF-8 no undecoded name."""
    codecs.register_error("s2mlp", _plainly)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="s2mlp")
