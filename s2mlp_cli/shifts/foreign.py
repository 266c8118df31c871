"""A shift from a Python file of the user's, ready to be called on maps of B,H,W,C.

How it wants to be called is found out: from its parameters, and by calling it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from s2mlp_cli.directions import Directions
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.shifts.types import Layout
from s2mlp_cli.user_code import UserCode, load_code, parameters

# Parameters that get our list of directions, and those that get a size of the map.
_DIRECTIONS = frozenset({"directions", "direction_list", "dirs"})
_HEIGHT = frozenset({"h", "height", "img_h", "rows"})
_WIDTH = frozenset({"w", "width", "img_w", "columns"})
_SIZE = frozenset(
    {
        *("size", "hw", "shape", "resolution", "patch_resolution", "input_resolution"),
        *("x_size", "hw_shape", "img_size"),
    }
)


@dataclass(frozen=True)
class ForeignShift:
    """A function, method or module without weights that a user wrote.

    Attributes:
        code: where it came from.
        function: what is called.
        takes: the parameters beside the map that are filled in, by name: ``directions``,
            ``height``, ``width`` or ``size``.
        optional: the same of those that have defaults of their own.
        arguments: those of ``given`` that the function itself takes.
        given: all that ``--set`` gave, some of it to a constructor.
        notes: what was done to load it.
    """

    code: UserCode
    function: Callable[..., Any]
    takes: Mapping[str, str]
    optional: Mapping[str, str]
    arguments: Mapping[str, Any]
    given: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def ways(self) -> tuple[ForeignShift, ...]:
        """How it may want to be called, the likeliest first: its own defaults may have to stay."""
        directions = {name: what for name, what in self.optional.items() if what == "directions"}
        sizes = {name: what for name, what in self.optional.items() if what != "directions"}
        filled: tuple[dict[str, str], ...] = (directions, {}, {**directions, **sizes}, sizes)
        unique = [each for place, each in enumerate(filled) if each not in filled[:place]]
        return tuple(replace(self, takes={**self.takes, **each}) for each in unique)

    @property
    def constants(self) -> tuple[object, ...]:
        """Arguments, defaults, attributes and numbers of its code: it may want such a size."""
        code = getattr(getattr(self.function, "forward", self.function), "__code__", None)
        return (
            *self.given.values(),
            *(each.default for each in _parameters(self.function)),
            *getattr(self.function, "__dict__", {}).values(),
            *getattr(code, "co_consts", ()),
        )

    def call(self, x: Tensor, layout: Layout, directions: Directions = ()) -> Tensor:
        """Call it on ``x`` (B,H,W,C) in ``layout`` and return B,H,W,C; a list of maps is joined.

        Whatever it raises is raised. The map is handed over as it is in memory: a layout is a view.

        Raises:
            UserCodeError: it returned something that is not a map of the same shape.
        """
        height, width = int(x.shape[1]), int(x.shape[2])
        given = _to_layout(x, layout)
        values = {
            "directions": directions,
            "height": height,
            "width": width,
            "size": (height, width),
        }
        filled = {name: values[what] for name, what in self.takes.items()}
        found = self.function(given, **filled, **self.arguments)
        axis = 1 if layout == "B,C,H,W" else given.ndim - 1
        rest = [size for at, size in enumerate(given.shape) if at != axis]
        if (
            isinstance(found, list | tuple)
            and found
            and all(
                isinstance(each, Tensor)
                and [size for at, size in enumerate(each.shape) if at != axis] == rest
                for each in found
            )
        ):
            found = torch.cat(list(found), dim=axis)
        if not isinstance(found, Tensor) or found.shape != given.shape:
            what = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            makes = "; if it makes shifts, give its arguments with --set" * callable(found)
            raise UserCodeError(f"it returns {what} for a map of {list(given.shape)}{makes}")
        return _from_layout(found, layout, height, width)


def load_foreign(
    text: str, arguments: Mapping[str, Any] | None = None, sha256: str | None = None
) -> ForeignShift:
    """Load ``mine.py:my_shift``, ``mine.py:Class.method`` or a module without weights.

    Args:
        text: as the user named it.
        arguments: of ``--set``: for the constructor where it takes them, else for the function.
        sha256: what the file must be, if it was loaded before.

    Raises:
        UserCodeError: it cannot be loaded, lacks an argument, or has weights.
    """
    code, given = load_code(text, sha256), dict(arguments or {})
    function, notes = code.value, code.notes
    if inspect.isclass(function):
        function = _made(code, given)
    elif "self" in (code.takes or ())[:1]:  # a method: its object is made first
        owner, _, name = text.rpartition(".")
        function = getattr(_made(load_code(owner, sha256), given), name)
    if not callable(function):
        raise UserCodeError(
            f"{code.name} is of type {type(function).__name__}, not a function; name a function, "
            "a method (Class.method) or a module"
        )
    if not _takes_map(function, given):
        function = _made(code, given)
        if not callable(function):
            raise UserCodeError(
                f"{code.name} takes no map, and returns a {type(function).__name__} instead of a "
                "shift"
            )
        notes = (*notes, f"{code.name} makes a shift and was called once")
    if isinstance(function, nn.Module):
        if any(True for _ in function.parameters()):
            raise UserCodeError(
                f"{code.name} has weights, so it is more than a shift; compare it with "
                f"`s2mlp verify --module {text}`, or name the function that shifts"
            )
        function = function.eval()
    takes, optional = _filled(code, function, given)
    return ForeignShift(code, function, takes, optional, given, dict(arguments or {}), notes)


def _made(code: UserCode, given: dict[str, Any]) -> Any:
    """Call a class or a factory with those of the arguments that it takes, and take them out."""
    own = {name: given.pop(name) for name in [*given] if code.takes is None or name in code.takes}
    _require(code, [each for each in _lacking(code.value) if each not in own])
    return code.call(**own)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function; of compiled code that does not tell them, a map."""
    found = parameters(function)
    if found is None:
        return [inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    return found


_NAMED_ONLY = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _takes_map(function: Callable[..., Any], given: Mapping[str, Any]) -> bool:
    """Whether a map can be given: a first parameter without a default, or ``*args``."""
    places = [each for each in _parameters(function) if each.kind not in _NAMED_ONLY]
    return (
        bool(places)
        and places[0].name not in given
        and (
            places[0].default is inspect.Parameter.empty
            or places[0].annotation in (Tensor, "Tensor", "torch.Tensor")
        )
    )


def _lacking(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters that have no default."""
    return [
        each.name
        for each in _parameters(function)
        if each.default is inspect.Parameter.empty and each.kind not in _VARIADIC
    ]


def _filled(
    code: UserCode, function: Callable[..., Any], given: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return which parameters beside the map are filled in, and which can be, and with what."""
    _, *own = _parameters(function)
    names = [each.name for each in own]
    unknown = sorted(set(given) - set(names))
    if unknown and all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in own):
        raise UserCodeError(
            f"{code.name} has no argument '{unknown[0]}'; it has {', '.join(names) or 'none'}"
        )
    takes: dict[str, str] = {}
    optional: dict[str, str] = {}
    for each in own:
        what = None if each.name in given else _meaning(each, names)
        if what:
            needed = each.default in (inspect.Parameter.empty, None)
            (takes if needed else optional)[each.name] = what
    _require(code, [n for n in _lacking(function)[1:] if n not in takes and n not in given])
    return takes, optional


def _meaning(parameter: inspect.Parameter, names: list[str]) -> str | None:
    lower, lowered = parameter.name.lower(), {each.lower() for each in names}
    if lower in _DIRECTIONS:
        return "directions"
    if lower in _HEIGHT and lowered & _WIDTH:
        return "height"
    if lower in _WIDTH and lowered & _HEIGHT:
        return "width"
    # A number may be the size of a step.
    is_number = isinstance(parameter.default, int | float)
    return "size" if lower in _SIZE and not is_number else None


def _require(code: UserCode, lacking: list[str]) -> None:
    if lacking:
        sets = " ".join(f"--set {name}=VALUE" for name in lacking)
        raise UserCodeError(f"{code.name} needs {', '.join(lacking)}; give it with {sets}")


def _to_layout(x: Tensor, layout: Layout) -> Tensor:
    """Return a map of B,H,W,C in another layout: a view where one is possible."""
    if layout == "B,C,H,W":
        return x.permute(0, 3, 1, 2)
    return x.flatten(1, 2) if layout == "B,N,C" else x


def _from_layout(x: Tensor, layout: Layout, height: int, width: int) -> Tensor:
    """Return B,H,W,C of a map in ``layout``."""
    if layout == "B,C,H,W":
        return x.permute(0, 2, 3, 1)
    return x.reshape(len(x), height, width, -1) if layout == "B,N,C" else x
