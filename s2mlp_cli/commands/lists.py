"""Option values that are lists with commas between: ``fp32,bf16`` and ``1,64,max``."""

from __future__ import annotations

from typing import Any

import click

LARGEST_BATCH = 2**20


class Words(click.ParamType[tuple[str, ...]]):
    """A list of known words: ``fp32,bf16``."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self.known = known
        self.name = "words"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what the help shows."""
        return ",".join(self.known)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the words in the order given, each once."""
        words = tuple(dict.fromkeys(word.strip() for word in str(value).split(",")))
        for word in words:
            if word not in self.known:
                self.fail(f"'{word}' is none of {', '.join(self.known)}", param, ctx)
        return words


class BatchSizes(click.ParamType[tuple[int | None, ...]]):
    """Images at a time: ``1,8,64``; ``max`` becomes None."""

    name = "batch sizes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, ...]:
        """Return the sizes in the order given, each once."""
        if isinstance(value, tuple):
            return value
        words = (word.strip() for word in str(value).split(","))
        return tuple(dict.fromkeys(self._size(word, param, ctx) for word in words))

    def _size(
        self, word: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if word == "max":
            return None
        if not (word.isascii() and word.isdecimal() and 0 < int(word) <= LARGEST_BATCH):
            self.fail(f"'{word}' is no batch size; write 1 or 8,64 or max", param, ctx)
        return int(word)
