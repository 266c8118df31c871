"""A shift from a Python file of the user's, ready to be called on maps of B,H,W,C.

How it wants to be called is found out: from its parameters, and by calling it.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2mlp_cli.directions import Directions
from s2mlp_cli.errors import UserCodeError
from s2mlp_cli.shifts.decode import from_layout, to_layout
from s2mlp_cli.shifts.types import Layout
from s2mlp_cli.user_code import UserCode, described, load_code

# Parameters that get our list of directions, and those that get a size of the map.
_DIRECTIONS = frozenset({"directions", "direction_list", "dirs"})
_HEIGHT = frozenset({"h", "height", "img_h", "rows"})
_WIDTH = frozenset({"w", "width", "img_w", "columns"})
_SIZE = frozenset({"size", "hw", "shape", "resolution", "input_resolution", "x_size"})


@dataclass(frozen=True)
class ForeignShift:
    """A function, static method or module that a user wrote.

    Attributes:
        name: ``mine.py:my_shift``.
        function: what is called.
        takes: the parameters beside the map that are filled in, by name: ``directions``,
            ``height``, ``width`` or ``size``.
        arguments: given with ``--set``.
        sha256: of its file.
        notes: what was done to load it.
    """

    name: str
    function: Callable[..., Any]
    takes: Mapping[str, str]
    arguments: Mapping[str, Any]
    sha256: str | None = None
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def takes_directions(self) -> bool:
        return "directions" in self.takes.values()

    def call(self, x: Tensor, layout: Layout, directions: Directions = ()) -> Tensor:
        """Call it on ``x`` (B,H,W,C) in ``layout`` and return B,H,W,C.

        Whatever it raises is raised. The map is handed over as it is in memory: a layout is a view.

        Raises:
            UserCodeError: it returned something that is not a map of the same shape.
        """
        height, width = int(x.shape[1]), int(x.shape[2])
        given = to_layout(x, layout)
        found = self.raw(given, height, width, directions)
        if not isinstance(found, Tensor) or found.shape != given.shape:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserCodeError(
                f"{self.name} returns {what} for a map of {tuple(given.shape)}; a shift returns a "
                "map of the same shape"
            )
        return from_layout(found, layout, height, width)

    def raw(self, given: Tensor, height: int, width: int, directions: Directions = ()) -> Any:
        """Call it with a map as it is, and join a list of maps along the channels."""
        values = {
            "directions": directions,
            "height": height,
            "width": width,
            "size": (height, width),
        }
        filled = {name: values[what] for name, what in self.takes.items()}
        found = self.function(given, **filled, **self.arguments)
        if isinstance(found, (list, tuple)) and found and isinstance(found[0], Tensor):
            found = found[0] if len(found) == 1 else torch.cat(list(found), dim=-1)
        return found


def load_foreign(text: str, arguments: Mapping[str, Any] | None = None) -> ForeignShift:
    """Load ``mine.py:my_shift``, ``mine.py:Class.method`` or a module without parameters.

    Args:
        text: as the user named it.
        arguments: of ``--set``: for the class where it is one, else for the function.

    Raises:
        UserCodeError: it cannot be loaded, lacks an argument, or has weights.
    """
    code, loaded = _loaded(text)
    given = dict(arguments or {})
    function, notes = code.value, [*loaded]
    if inspect.isclass(function):
        function = _instance(code, given)
        given = {}
    if isinstance(function, nn.Module):
        if any(True for _ in function.parameters()):
            raise UserCodeError(
                f"{code.name} has weights, so it is more than a shift; compare it with "
                f"`s2mlp verify --module {text}`, or name the function that shifts"
            )
        function = function.eval()
    if not callable(function):
        raise UserCodeError(f"{code.name} is a {type(function).__name__}, not a function")
    if not _map_parameter(function):
        function = _made(code, function, given)
        given = {}
        notes.append(f"{code.name} makes a shift and was called once")
    takes = _filled(code, function, given)
    return ForeignShift(code.name, function, takes, given, code.sha256, code.path, tuple(notes))


def _instance(code: UserCode, arguments: Mapping[str, Any]) -> Any:
    lacking = _required(code.value, arguments)
    if lacking:
        raise UserCodeError(_needs(code, lacking))
    return code.call(**arguments)


def _made(code: UserCode, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Return what a function without a map makes: a factory of shifts."""
    made = code.call(**arguments)
    if not callable(made):
        raise UserCodeError(
            f"{code.name} takes no map, and returns a {type(made).__name__} instead of a shift"
        )
    return made


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # built into C: it takes what it takes
        return [inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY)]


def _positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return [each for each in _parameters(function) if each.kind not in kinds]


def _map_parameter(function: Callable[..., Any]) -> bool:
    """Whether a map can be given: a first parameter without a default, or ``*args``."""
    places = _positional(function)
    return bool(places) and (
        places[0].default is inspect.Parameter.empty
        or places[0].annotation in (Tensor, "Tensor", "torch.Tensor")
    )


def _required(function: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        each.name
        for each in _parameters(function)
        if each.default is inspect.Parameter.empty
        and each.kind not in variadic
        and each.name not in given
    ]


def _filled(
    code: UserCode, function: Callable[..., Any], given: Mapping[str, Any]
) -> dict[str, str]:
    """Return which further parameters are filled in, and with what."""
    first = _positional(function)[0].name
    own = [each.name for each in _parameters(function)]
    unknown = sorted(set(given) - set(own))
    variadic = any(e.kind is inspect.Parameter.VAR_KEYWORD for e in _parameters(function))
    if unknown and not variadic:
        raise UserCodeError(
            f"{code.name} has no argument '{unknown[0]}'; it has {', '.join(own[1:]) or 'none'}"
        )
    takes = {name: what for name in own[1:] if name not in given and (what := _meaning(name, own))}
    lacking = [n for n in _required(function, given) if n != first and n not in takes]
    if lacking:
        raise UserCodeError(_needs(code, lacking))
    defaulted = {e.name for e in _parameters(function) if e.default is not inspect.Parameter.empty}
    return {
        name: what for name, what in takes.items() if what == "directions" or name not in defaulted
    }


def _meaning(name: str, names: list[str]) -> str | None:
    lower = name.lower()
    if lower in _DIRECTIONS:
        return "directions"
    lowered = {each.lower() for each in names}
    if lower in _HEIGHT and lowered & _WIDTH:
        return "height"
    if lower in _WIDTH and lowered & _HEIGHT:
        return "width"
    return "size" if lower in _SIZE else None


def _needs(code: UserCode, lacking: list[str]) -> str:
    sets = " ".join(f"--set {name}=VALUE" for name in lacking)
    return f"{code.name} needs {', '.join(lacking)}; give it with {sets}"


def _loaded(text: str) -> tuple[UserCode, tuple[str, ...]]:
    """Load a file; where only its other imports are missing, read the one definition alone."""
    try:
        return load_code(text), ()
    except UserCodeError as error:
        if not isinstance(error.__cause__, ImportError) or ".py:" not in text:
            raise
        missing = str(error.__cause__)
        file, _, name = text.rpartition(":")
        value = _alone(Path(file), name, missing)
    name = f"{Path(file).name}:{name}"
    code = UserCode(text, name, value, Path(file), _digest(Path(file)))
    return code, (f"{name} was read alone, since its file cannot be imported ({missing})",)


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _alone(path: Path, name: str, missing: str) -> Any:
    """Run one definition of a file, with what it uses of the file, and the imports that work.

    Raises:
        UserCodeError: it needs what is missing.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    space: dict[str, Any] = {"__name__": path.stem, "torch": torch, "nn": nn, "math": math}
    root, *rest = name.split(".")
    defined = {bound: node for node in tree.body for bound in _bound(node)}
    if root not in defined:
        raise UserCodeError(f"{path}: there is no '{root}' in it")
    for node in (each for each in tree.body if isinstance(each, (ast.Import, ast.ImportFrom))):
        try:
            _run([node], path, space)
        except ImportError:
            continue  # what needs it says so below
    wanted = _needed(root, defined)
    try:
        _run([node for node in tree.body if node in wanted], path, space)
        value = space[root]
        for part in rest:
            value = getattr(value, part)
    except (NameError, AttributeError, ImportError) as error:
        raise UserCodeError(
            f"{path.name}:{name} needs what cannot be imported here ({missing}): "
            f"{described(error, path)}; install it"
        ) from error
    return value


def _run(nodes: list[ast.stmt], path: Path, space: dict[str, Any]) -> None:
    exec(compile(ast.Module(nodes, []), str(path), "exec"), space)  # the user named this file


def _bound(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a file defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [each.id for each in node.targets if isinstance(each, ast.Name)]
    return []


def _needed(root: str, defined: Mapping[str, ast.stmt]) -> set[ast.stmt]:
    """Return the statements that a definition uses, directly or by others."""
    found: set[ast.stmt] = set()
    waiting = [root]
    while waiting:
        node = defined.get(waiting.pop())
        if node is None or node in found:
            continue
        found.add(node)
        waiting += [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
    return found
