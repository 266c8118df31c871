"""Conditions under which ``torch.compile`` compiles what the row says, or says that it cannot."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Compiled versions of one function of ours: every implementation of a case is one of a block.
_MOST_VERSIONS = 64


# It traces through the cache of `gather`'s indices: they become a part of the graph, and right.
_CACHED_INDICES = r"Dynamo detected a call to a `functools.lru_cache`"

# Of Python 3.13.0 alone; the environment stands in the record.
_OLD_PYTHON = "Guards may run slower on Python"

# Logs where it would look for CUDA if there were one; a CPU's compiler does not care.
_CUDA_HOME = "torch.utils.cpp_extension"


@contextmanager
def fresh_compiler() -> Iterator[None]:
    """Compile as if this case were the only one in the process.

    Dynamo keeps what it compiled by the code of a function, and all implementations run the same
    code of a block: at the ninth version it would go on uncompiled without an error, and at the
    second batch size it would compile for any size, which is slower. Here it starts from nothing,
    has room for all, and a limit that is hit is an error.
    """
    from torch._dynamo import config  # a second or two, for those who compile

    torch.compiler.reset()
    with (
        _without_remarks(),
        config.patch(
            recompile_limit=_MOST_VERSIONS,
            fail_on_recompile_limit_hit=True,
            automatic_dynamic_shapes=False,
        ),
    ):
        yield


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep off stderr what the compiler says that is of no concern here."""
    logger = logging.getLogger(_CUDA_HOME)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _CACHED_INDICES, UserWarning)
            warnings.filterwarnings("ignore", _OLD_PYTHON, RuntimeWarning)
            yield
    finally:
        logger.setLevel(level)
