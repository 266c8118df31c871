"""What looks at a running model: fvcore over a traced graph, torch's counter, shapes, traffic."""

from __future__ import annotations

import contextlib
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import Tensor, nn
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from s2mlp_cli.measure.counting.operators import HANDLES


@dataclass(frozen=True)
class Figures:
    """What fvcore's trace adds up to.

    Attributes:
        modules: module name -> ``figure:operator`` -> number; ``""`` is the whole.
        unknown: operators without a rule -> how often they were called.
    """

    modules: dict[str, Counter[str]]
    unknown: dict[str, int]

    def total(self, figure: str, module: str = "") -> int:
        """Return one figure of one module, over all operators."""
        counts = self.modules[module]
        return int(sum(value for key, value in counts.items() if key.startswith(f"{figure}:")))


def traced_figures(model: nn.Module, x: Tensor) -> Figures:
    """Trace ``model(x)`` with fvcore and apply this project's rules to every operator."""
    # The tracer takes tensors only, and some models return a dictionary or an object of them.
    handle = model.register_forward_hook(
        lambda module, inputs, output: output if isinstance(output, Tensor) else tensors(output)
    )
    analysis = JitModelAnalysis(model, (x,)).set_op_handle(**HANDLES)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    try:
        with torch.no_grad():
            return Figures(analysis.by_module_and_operator(), dict(analysis.unsupported_ops()))
    finally:
        handle.remove()


def tensors(value: Any) -> tuple[Tensor, ...]:
    """Return the tensors in a value: in containers of any depth, or in an object's attributes."""
    if isinstance(value, Mapping):
        value = list(value.values())
    leaves = tree_leaves(value)
    found = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if not found:
        inside = [vars(leaf) for leaf in leaves if hasattr(leaf, "__dict__")]
        found = [leaf for leaf in tree_leaves(inside) if isinstance(leaf, Tensor)]
    return tuple(found)


def _deformed_flops(x: Any, weight: Any, *_: Any, out_shape: Any) -> int:
    positions = out_shape[0] * math.prod(out_shape[2:])
    return 2 * int(positions * (math.prod(weight) + 4 * x[1] * math.prod(weight[2:])))


# FLOPs of products that torch's counter does not know, from the shapes of the arguments.
_FORMULAS: dict[Any, Any] = {
    torch.ops.aten.mv: lambda matrix, *_, out_shape: 2 * math.prod(matrix),
    torch.ops.aten.dot: lambda vector, *_, out_shape: 2 * math.prod(vector),
    torch.ops.aten.vdot: lambda vector, *_, out_shape: 2 * math.prod(vector),
    torch.ops.aten.addmv: lambda bias, matrix, *_, out_shape: 2 * math.prod(matrix),
}


def flop_counter_macs(model: nn.Module, x: Tensor) -> int:
    """Run ``model(x)`` under torch's FlopCounterMode: half of its FLOPs are the MACs."""
    _fill_compiler_guard()
    formulas = dict(_FORMULAS)
    if "torchvision" in sys.modules:  # only a model that imported it can have this operator
        formulas[torch.ops.torchvision.deform_conv2d] = _deformed_flops
    counter = flop_counter.FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.no_grad(), counter:
        model(x)
    return int(counter.get_total_flops()) // 2


def _fill_compiler_guard() -> None:
    """Spare the mode's first use the 1.6 s in which it imports torch's whole compiler.

    torch guards the mode's dispatch function against being compiled, and looks for the guarded
    function in this attribute before it makes one. Nothing is compiled while counting, so the
    function can take its own place. Where a torch has no such guard, nothing happens.
    """
    guarded = flop_counter._FlopCounterMode.__torch_dispatch__
    function = getattr(guarded, "__wrapped__", None)
    if function is not None:
        function.__dict__.setdefault("__dynamo_disable", function)


@dataclass
class Seen:
    """What went in and out of a module: the shapes of the first call, and the number of calls."""

    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    calls: int = 1


@contextlib.contextmanager
def watching(model: nn.Module) -> Iterator[dict[str, Seen]]:
    """Note the shapes that every module of ``model`` meets while the context lasts, by name."""
    seen: dict[str, Seen] = {}
    hooks = [
        module.register_forward_hook(partial(_note, seen, name), with_kwargs=True)
        for name, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _note(
    seen: dict[str, Seen], name: str, module: nn.Module, inputs: Any, named: Any, output: Any
) -> None:
    if name in seen:
        seen[name].calls += 1
        return
    into, out = ([tuple(each.shape) for each in tensors(v)] for v in ((inputs, named), output))
    seen[name] = Seen(into[0] if into else None, out[0] if out else None)


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes that the operators inside the context read and write.

    Every operator that is not a view is charged for each tensor that it reads and for each that
    it writes, once, as if nothing stayed in a cache: what a sequence of separate kernels moves.
    """

    bytes_moved = 0

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
            self.bytes_moved += sum(
                tensor.numel() * tensor.element_size() for tensor in [*read, *written.values()]
            )
        return out


def bytes_moved(function: Callable[..., object], *arguments: object) -> int:
    """Return the bytes that ``function(*arguments)`` moves; meta tensors will do."""
    with torch.no_grad(), Traffic() as traffic:  # type: ignore[no-untyped-call]
        function(*arguments)
    return int(traffic.bytes_moved)
