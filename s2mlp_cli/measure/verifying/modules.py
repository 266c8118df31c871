"""A copy of the plug-in module ``S2Attention``, compared with ours part by part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from s2mlp_cli.cores import threads
from s2mlp_cli.directions import OFFSETS, destination_and_source
from s2mlp_cli.errors import UnavailableError, UserCodeError
from s2mlp_cli.models.s2attention import ATTENTIONS, S2Attention
from s2mlp_cli.records.verify import ForeignResult
from s2mlp_cli.shifts.torch_shifts import shift_slice
from s2mlp_cli.user_code import UserCode, load_code

# Images, height and width for a module, which fixes the channels: not square, and small.
_BATCH, _HEIGHT, _WIDTH = 2, 7, 9

# Relative error of two float32 programs that add up in another order.
_TOLERANCE = 1e-5

_PERMUTED = (
    "takes and returns B,H,W,C, where S2Attention takes B,C,H,W: permute the map around it; apart "
    "from that it "
)


def explain_module(name: str, arguments: Mapping[str, Any] | None = None) -> ForeignResult:
    """Compare a copy of the plug-in module with :class:`~s2mlp_cli.S2Attention`.

    Both get the same weights and the same maps.

    Args:
        name: of the class, such as ``theirs.py:S2Attention``.
        arguments: of its constructor.

    Raises:
        UserCodeError: it cannot be loaded, is not a module, or has other weights.
    """
    code = load_code(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = code.call(**(arguments or {}))
    if not isinstance(module, nn.Module):
        raise UserCodeError(f"{code.name} makes a {type(module).__name__}, not a torch.nn.Module")
    is_same, layout = False, "B,C,H,W"
    renamed: tuple[str, ...] = ()
    explanation = _fixed_attention(module)
    if explanation is None:
        ours, renamed = _with_its_weights(code.name, module)
        with torch.no_grad(), threads(1), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            is_same, explanation, layout = _compared(code, module.eval(), ours)
    return ForeignResult(
        implementation=code.name,
        sha256=code.sha256,
        arguments=dict(arguments or {}),
        is_shift=is_same,
        layout=layout,
        explanation=explanation,
        splits=None,
        findings=(*code.notes, *renamed),
    )


def _compared(code: UserCode, module: nn.Module, ours: S2Attention) -> tuple[bool, str, str]:
    """Return whether a module computes what ours does, the verdict in words, and its layout."""
    size = (_BATCH, ours.mlp1.in_features, _HEIGHT, _WIDTH)
    x = torch.randn(size, generator=torch.Generator().manual_seed(0))
    layout, given = "B,C,H,W", x
    try:
        calls = _Calls.of(code, module, given)
    except UserCodeError as error:
        try:
            layout, given = "B,H,W,C", x.permute(0, 2, 3, 1)
            calls = _Calls.of(code, module, given)
        except UserCodeError:
            return False, f"fails {error}", "B,C,H,W"
    found = calls.result
    if isinstance(found, Tensor) and found.shape == given.shape and layout == "B,H,W,C":
        found = found.permute(0, 3, 1, 2)
    before = "" if layout == "B,C,H,W" else _PERMUTED
    errors = {}
    for shift in ("concat", "inplace"):
        try:
            ours.set_shift(shift)
        except UnavailableError:  # at a width that the directions do not divide
            errors[shift] = math.inf
            continue
        errors[shift] = _error(found, ours(x.clone()))
    true = f"{errors['concat']:.2g} of the largest value"
    if errors["concat"] < _TOLERANCE:
        end = "" if before else ": replacing it changes nothing"
        return not before, f"{before}computes what S2Attention does{end}", layout
    if errors["inplace"] < _TOLERANCE:
        verdict = (
            "overwrites what it still has to read: S2Attention(channels, shift='inplace') repeats "
            f"it on one thread; the true shift differs by {true}, so a model that was trained with "
            "it must be trained again, or keep 'inplace'"
        )
        return False, before + verdict, layout
    overwritten = ""
    if errors["inplace"] < math.inf:
        overwritten = f" (by {errors['inplace']:.2g} with shift='inplace')"
    parts = list(_differences(code, module, ours, given, calls, layout))
    where = "; ".join(parts) or "it connects equal parts in another way"
    verdict = f"differs from S2Attention by {true}{overwritten} on the same weights: {where}"
    return False, before + verdict, layout


@dataclass(frozen=True)
class _Calls:
    """What went in and out of the parts of a module in one call; ``attention.`` are inside it."""

    into: dict[str, Any]
    out: dict[str, Any]
    result: Any

    @classmethod
    def of(cls, code: UserCode, module: nn.Module, x: Tensor) -> _Calls:
        """Call ``module`` on a copy of ``x`` and keep copies: what follows may write to them."""
        into: dict[str, Any] = {}
        out: dict[str, Any] = {}
        hooks = []
        for path, part in module.named_modules():
            name = _part_name(path)
            if name:
                hooks.append(part.register_forward_pre_hook(_keeper(into, name)))
                hooks.append(part.register_forward_hook(_keeper(out, name)))
        try:
            with code.running(f"on a map of {list(x.shape)}"):
                return cls(into, out, module(x.clone()))
        finally:
            for hook in hooks:
                hook.remove()


def _part_name(path: str) -> str | None:
    """Return what ours calls a part of theirs: ``attention.mlp1`` for ``split_attn.mlp1``."""
    first, dot, rest = path.partition(".")
    name = f"attention{dot}{rest}" if first in ATTENTIONS else path
    known = ("mlp1", "mlp2", "attention", "attention.mlp1", "attention.mlp2")
    return name if name in known else None


def _keeper(kept: dict[str, Any], name: str) -> Callable[..., None]:
    def keep(part: nn.Module, *values: Any) -> None:
        value = values[-1]
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, list):
            value = torch.stack(value, 1)
        kept[name] = value.clone() if isinstance(value, Tensor) else value

    return keep


def _differences(
    code: UserCode,
    module: nn.Module,
    ours: S2Attention,
    x: Tensor,
    calls: _Calls,
    layout: str,
) -> Iterator[str]:
    """Yield each part that differs; each part of ours gets what theirs got."""
    if _error(_Calls.of(code, module, x).result, calls.result) > _TOLERANCE:
        yield "it is random: two calls on one map differ"
    rows = x if layout == "B,H,W,C" else x.permute(0, 2, 3, 1)
    expanded, into = calls.out.get("mlp1"), calls.into.get("mlp1")
    if into is not None and _error(into, rows) > _TOLERANCE:
        turned = _error(into, rows.transpose(1, 2)) < _TOLERANCE
        yield "it exchanges rows and columns" if turned else "its mlp1 gets another map"
    maps = calls.into.get("attention")
    shape = (_BATCH, len(ours.splits), *(expanded.shape[1:3] if expanded is not None else ()))
    if maps is None or expanded is None or tuple(maps.shape[:4]) != shape:
        yield "its attention does not get the maps as B,K,H,W,C, so its parts cannot be compared"
        return
    yield from _shifts(ours, expanded, maps)
    yield from _attention(maps, calls)
    mixed = calls.out["attention"]
    if "mlp2" not in calls.out:
        return
    if _error(calls.into["mlp2"], mixed) > _TOLERANCE:
        yield "it changes what its attention returns before mlp2"
    last = calls.out["mlp2"]
    yield from _output(x, last, calls.result, layout)


def _shifts(ours: S2Attention, expanded: Tensor, maps: Tensor) -> Iterator[str]:
    for number, directions in enumerate(ours.splits):
        moved = tuple(_moves(expanded, maps[:, number], number, max(len(directions), 1)))
        wanted = directions or ("not moved",)
        if moved != wanted:
            yield f"map {number + 1} is {', '.join(moved)} instead of {', '.join(wanted)}"


def _moves(expanded: Tensor, after: Tensor, number: int, count: int) -> Iterator[str]:
    """Yield how each group of a map moved: a direction, overwritten, not moved, or otherwise."""
    channels = after.shape[-1]
    ends = [index * channels // count for index in range(count + 1)]
    for start, end in pairwise(ends):
        group = slice(number * channels + start, number * channels + end)
        yield next(_names(expanded, group, after[..., start:end]), "moved otherwise")


def _names(expanded: Tensor, group: slice, became: Tensor) -> Iterator[str]:
    """Yield the moves that explain a group; what is overwritten depends on the whole's memory."""
    if torch.equal(expanded[..., group], became):
        yield "not moved"
    for direction, (down, right) in OFFSETS.items():
        true = shift_slice(expanded[..., group], (direction,))
        if torch.equal(true, became):
            yield direction
        whole = expanded.clone()
        (to_row, from_row), (to_column, from_column) = map(destination_and_source, (down, right))
        whole[:, to_row, to_column, group] = whole[:, from_row, from_column, group]
        if torch.equal(whole[..., group], became):
            yield f"{direction} (overwritten)"


def _attention(maps: Tensor, calls: _Calls) -> Iterator[str]:
    total = calls.into.get("attention.mlp1")
    hidden, gated = calls.out.get("attention.mlp1"), calls.into.get("attention.mlp2")
    scores = calls.out.get("attention.mlp2")
    if total is None or hidden is None or gated is None or scores is None:
        yield "its attention computes its weights without mlp1 and mlp2"
        return
    if _error(total.flatten(), maps.sum((1, 2, 3)).flatten()) > _TOLERANCE:
        yield "its attention does not sum the maps over positions"
    if _error(gated, nn.functional.gelu(hidden)) > _TOLERANCE:
        relu = _error(gated, hidden.relu()) < _TOLERANCE
        yield f"its attention has {'ReLU' if relu else 'another activation'} instead of GELU"
    weights = scores.reshape(maps.shape[0], maps.shape[1], 1, 1, maps.shape[-1]).softmax(1)
    if _error(calls.out["attention"], (weights * maps).sum(1)) > _TOLERANCE:
        yield "its attention weighs the maps otherwise than by a softmax over the maps"


def _output(x: Tensor, last: Tensor, result: Any, layout: str) -> Iterator[str]:
    expected = (
        [last] if layout == "B,H,W,C" else [last.permute(0, 3, 1, 2), last.permute(0, 3, 2, 1)]
    )
    if any(_error(result, each) < _TOLERANCE for each in expected):
        return
    if any(_error(result, each + x) < _TOLERANCE for each in expected if each.shape == x.shape):
        yield "its output adds the input"
    else:
        yield "its output is not that of its mlp2"


def _error(found: Any, expected: Any) -> float:
    """Return how far ``found`` is off, relative to the largest value; of no map infinitely."""
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
    inside = [w for key, w in state.items() if key.endswith(".mlp1.weight")]
    hidden = len(inside[0]) if inside else wide.shape[1]
    ours = S2Attention(wide.shape[1], reduction=max(wide.shape[1] // hidden, 1)).eval()
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
