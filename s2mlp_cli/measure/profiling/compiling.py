"""torch.compile: what it is given at a time, as if for the first time, and how long it takes."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

# Compiled versions of one function of ours: every implementation of a case is one of a block.
_MOST_VERSIONS = 64

# Said by the compiler, and of no concern: it traces through the cache of `gather`'s indices, which
# become a part of the graph, and right; Python 3.13.0 alone has slower guards.
_HARMLESS = {
    r"Dynamo detected a call to a `functools.lru_cache`": UserWarning,
    "Guards may run slower on Python": RuntimeWarning,
}

# They log where CUDA would be if there were one, and where the code of a user's model cannot be
# compiled in one piece.
_LOGGERS = ("torch.utils.cpp_extension", "torch._dynamo")


@dataclass
class Compiling:
    """How often torch has compiled something, and how many seconds that took."""

    clock: Callable[[], float] = time.perf_counter
    count: int = 0
    seconds: float = 0.0
    _started: float = 0.0

    def start(self, *_: object) -> None:
        self._started = self.clock()

    def end(self, *_: object) -> None:
        self.count += 1
        self.seconds += self.clock() - self._started


@contextmanager
def fresh_compiler() -> Iterator[Compiling]:
    """Compile as if this case were the only one in the process, and count what is compiled.

    Dynamo keeps what it compiled by the code of a function, and all implementations run the same
    code of a block: at the ninth version it would go on uncompiled without an error, and at the
    second batch size it would compile for any size, which is slower. Here it starts from nothing,
    has room for all, and a limit that is hit is an error. What inductor wrote to its cache on the
    disk stays, and is found again by the processes that measure memory.
    """
    from torch._dynamo import config  # a second or two, for those who compile
    from torch._dynamo.callback import callback_handler

    torch.compiler.reset()
    compiling = Compiling()
    callback_handler.register_start_callback(compiling.start)
    callback_handler.register_end_callback(compiling.end)
    try:
        with (
            _without_remarks(),
            config.patch(
                recompile_limit=_MOST_VERSIONS,
                fail_on_recompile_limit_hit=True,
                automatic_dynamic_shapes=False,
            ),
        ):
            yield compiling
    finally:
        callback_handler.remove_start_callback(compiling.start)
        callback_handler.remove_end_callback(compiling.end)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep off stderr what the compiler says that is of no concern here."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for words, kind in _HARMLESS.items():
                warnings.filterwarnings("ignore", words, kind)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def compiled_blocks(model: nn.Module) -> list[nn.Module]:
    """Return what is compiled by itself: the members of each sequence called ``blocks``.

    Models without one: every child of their outermost sequences. Equal blocks share their code.
    """
    sequences = {
        name: part
        for name, part in model.named_modules()
        if name and isinstance(part, (nn.Sequential, nn.ModuleList))
    }
    named = {name: part for name, part in sequences.items() if name.split(".")[-1] == "blocks"}
    chosen = named or sequences
    outermost = [
        part
        for name, part in chosen.items()
        if not any(name.startswith(f"{other}.") for other in chosen)
    ]
    return [child for part in outermost for child in part.children()]
