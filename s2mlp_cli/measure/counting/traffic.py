"""Bytes that operators read and write, by one rule: inputs read, outputs written, views free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes that the operators inside the context read and write.

    Every operator that is not a view is charged for each tensor that it reads and for each that
    it writes, once, as if nothing stayed in a cache: what a sequence of separate kernels moves.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes_moved = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the guard would import the whole compiler; nothing is compiled here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` and charge it."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            written = {id(value): value for value in tree_leaves(out) if isinstance(value, Tensor)}
            inputs = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
            read = [value for value in inputs if id(value) not in written]
            self.bytes_moved += sum(map(_size, [*read, *written.values()]))
        return out


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def bytes_moved(function: Callable[..., object], *arguments: object) -> int:
    """Return the bytes that ``function(*arguments)`` moves; meta tensors will do."""
    with torch.no_grad(), Traffic() as traffic:
        function(*arguments)
    return int(traffic.bytes_moved)
