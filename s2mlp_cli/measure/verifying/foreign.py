"""A shift from a user's Python file, probed and put into a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from s2mlp_cli.cores import threads
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.models.s2attention import S2Attention
from s2mlp_cli.records.verify import ForeignResult
from s2mlp_cli.shifts.foreign import load_foreign
from s2mlp_cli.shifts.probe import probe
from s2mlp_cli.shifts.types import Layout
from s2mlp_cli.user_code import UserCode, load_code


def explain(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    device: torch.device | str = "cpu",
) -> ForeignResult:
    """Say what ``mine.py:my_shift`` computes.

    Args:
        name: of the function, method or module; it runs because the user named it.
        arguments: what it gets beside the map.
        layout: of its maps, where their values cannot tell.
        device: where it is called.

    Raises:
        UserCodeError: it cannot be loaded, or lacks an argument.
    """
    shift = load_foreign(name, arguments)
    found = probe(shift, layout, device)
    return ForeignResult(
        implementation=shift.code.name,
        sha256=shift.code.sha256,
        arguments=dict(arguments or {}),
        is_shift=found.is_shift,
        layout=found.read.layout if found.read else None,
        explanation=found.verdict,
        splits=found.splits,
        smears=found.smears,
        findings=found.findings,
    )


# Images, height and width for a module, which fixes the channels: not square, and small.
_BATCH, _HEIGHT, _WIDTH = 2, 7, 9

# Relative error of two float32 programs that add up in another order.
_TOLERANCE = 1e-5


def explain_module(name: str, arguments: Mapping[str, Any] | None = None) -> ForeignResult:
    """Compare a copy of the plug-in module with :class:`~s2mlp_cli.S2Attention`.

    Both get the same weights and the same maps of B,C,H,W.

    Args:
        name: of the class, such as ``theirs.py:S2Attention``.
        arguments: of its constructor.

    Raises:
        UserCodeError: it cannot be loaded, is not a module, or has other weights.
    """
    code = load_code(name)
    module = code.call(**(arguments or {}))
    if not isinstance(module, nn.Module):
        raise UserCodeError(f"{code.name} makes a {type(module).__name__}, not a torch.nn.Module")
    is_same = False
    renamed: tuple[str, ...] = ()
    explanation = _fixed_attention(module)
    if explanation is None:
        ours, renamed = _with_its_weights(code.name, module)
        is_same, explanation = _compared(code, module.eval(), ours)
    return ForeignResult(
        implementation=code.name,
        sha256=code.sha256,
        arguments=dict(arguments or {}),
        is_shift=is_same,
        layout="B,C,H,W",
        explanation=explanation,
        splits=None,
        findings=(*code.notes, *renamed),
    )


def _compared(code: UserCode, module: nn.Module, ours: S2Attention) -> tuple[bool, str]:
    """Return whether a module computes what ours does, and the verdict in words."""
    size = (_BATCH, ours.mlp1.in_features, _HEIGHT, _WIDTH)
    x = torch.randn(size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), threads(1), code.running(f"on a map of {list(size)}"):
            found = module(x.clone())
    except UserCodeError as error:
        return False, f"fails {error}"
    with torch.no_grad(), threads(1):
        concat, inplace = (_error(ours, shift, x, found) for shift in ("concat", "inplace"))
    if concat < _TOLERANCE:
        return True, "computes what S2Attention does: replacing it changes nothing"
    if inplace < _TOLERANCE:
        return False, (
            "overwrites what it still has to read: S2Attention(channels, shift='inplace') repeats "
            f"it on one thread; the true shift differs by {concat:.2g} of the largest value, so a "
            "model that was trained with it must be trained again, or keep 'inplace'"
        )
    return False, (
        f"differs from S2Attention by {concat:.2g} of the largest value (by {inplace:.2g} with "
        "shift='inplace') on the same weights: it has other directions, another fusion or another "
        "border; probe its shifts with --shift"
    )


def _error(ours: S2Attention, shift: str, x: Tensor, found: Any) -> float:
    """Return how far ``found`` is off, relative to the largest value; of no map infinitely."""
    ours.set_shift(shift)
    expected: Tensor = ours(x.clone())
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return math.inf
    return float((found - expected).abs().max() / expected.abs().max())


def _with_its_weights(name: str, module: nn.Module) -> tuple[S2Attention, tuple[str, ...]]:
    """Return our module with the weights of theirs, and a note on names that differ."""
    state = module.state_dict()
    wide = next((w for key, w in state.items() if key.endswith("mlp1.weight")), None)
    if wide is None or wide.ndim != 2 or wide.shape[0] % wide.shape[1]:
        raise UserCodeError(
            f"{name} has no mlp1.weight of 3*C,C as the plug-in has; its weights are "
            f"{', '.join(list(state)[:6]) or 'none'}"
        )
    ours = S2Attention(wide.shape[1]).eval()
    try:
        ours.load_state_dict({key: value.clone() for key, value in state.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:])[:300]
        raise UserCodeError(f"{name} has other weights than the plug-in: {reason}") from error
    other = sorted({key.split(".")[0] for key in state} - {"mlp1", "mlp2", "split_attention"})
    note = f"its attention is called {', '.join(other)}; its state dict loads as it is"
    return ours, (note,) if other else ()


def _fixed_attention(module: nn.Module) -> str | None:
    """Say that the attention has another width than the module: most copies leave it at 512."""
    widths = {
        len(key.split(".")) > 2: weight.shape[1]  # deeper: inside the attention
        for key, weight in module.state_dict().items()
        if key.endswith("mlp1.weight")
    }
    if len(widths) < 2 or widths[True] == widths[False]:
        return None
    return (
        f"fails: its split attention is fixed at {widths[True]} channels, whatever width the "
        f"module is given ({widths[False]}); S2Attention({widths[False]}) works"
    )
