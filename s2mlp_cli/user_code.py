"""Functions and classes of Python code that the user names: ``net.py:build``, ``pkg.module:Name``.

Such code runs only because the user named it. What it prints goes to stderr, so that it cannot
break a table or a JSON document on stdout.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from s2mlp_cli.errors import UserCodeError, did_you_mean

_FILE = re.compile(r"(?P<module>.+\.py):(?P<name>[A-Za-z_][\w.]*)")
_MODULE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_][\w.]*)")

# Characters of a message that is quoted in a sentence.
_LONGEST = 200

# Of the names under which files are known to sys.modules.
_PREFIX = "_s2mlp_user_"


@dataclass(frozen=True)
class UserCode:
    """One object of a Python file, loaded.

    Attributes:
        name: ``net.py:build``, without the folder.
        value: the object.
        path: the file; None for a module that has none.
        sha256: of the file.
        searched: the folder that its imports are looked up in; None: as in all of Python.
        notes: what was done to load it, in sentences.
    """

    name: str
    value: Any
    path: Path | None
    sha256: str | None
    searched: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def takes(self) -> tuple[str, ...] | None:
        """The names of its arguments; None where it takes any, or does not tell."""
        found = parameters(self.value)
        if found is None or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in found):
            return None
        return tuple(each.name for each in found)

    def _required(self) -> list[str]:
        try:
            parameters = inspect.signature(self.value).parameters.values()
        except (TypeError, ValueError):
            return []
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = [each for each in parameters if each.default is inspect.Parameter.empty]
        return [each.name for each in needed if each.kind not in variadic]

    def call(self, **arguments: Any) -> Any:
        """Call the object; what it raises becomes a :class:`UserCodeError`."""
        takes = self.takes
        for name in arguments:
            if takes is not None and name not in takes:
                near = did_you_mean(name, takes) or ";"
                known = ", ".join(takes) or "none"
                raise UserCodeError(f"{self.name} has no argument '{name}'{near} it has {known}")
        lacking = [name for name in self._required() if name not in arguments]
        if lacking:
            sets = " ".join(f"--set {name}=VALUE" for name in lacking)
            raise UserCodeError(f"{self.name} needs {', '.join(lacking)}; give it with {sets}")
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        with self.running(f"{self.name}({given})"):
            return self.value(**arguments)

    @contextlib.contextmanager
    def running(self, what: str) -> Iterator[None]:
        """Run code of this file: its output goes to stderr, its errors become sentences."""
        with _guarded(what, self.path), self.beside():
            yield

    def beside(self) -> contextlib.AbstractContextManager[None]:
        """Look imports up in the folder of the file as well."""
        return _searched(self.searched) if self.searched else contextlib.nullcontext()


def parameters(value: Any) -> list[inspect.Parameter] | None:
    """Return the parameters of a function, class or module; None if it is compiled and has none."""
    if inspect.isclass(value):
        call, own = value, getattr(value.__init__, "__module__", "")
        if own == "torch.nn.modules.module":
            return []  # a module without a constructor of its own
    else:
        call = getattr(value, "forward", value)
    try:
        return list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        if not hasattr(call, "schema"):
            return None
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None if each.has_default_value() else inspect.Parameter.empty,
        )
        for each in call.schema.arguments  # of TorchScript
        if each.name != "self"
    ]


def imported_files(path: Path | None) -> dict[str, str]:
    """Return the files of the user's own folder that a file imports, directly or by others.

    The import statements are read, not run. What is installed is not the user's own.

    Returns:
        The path from the folder in which imports are looked up -> sha256.
    """
    if path is None or {"site-packages", "dist-packages"} & set(path.resolve().parts):
        return {}
    package, path = _package(path), path.resolve()
    folder = path.parents[len(package)]
    finder = ModuleFinder([str(folder)], excludes=["s2mlp_cli"])
    try:
        if package and path.stem.isidentifier():
            finder.import_hook(".".join((*package, path.stem)))
        else:
            finder.run_script(str(path))
    except (ImportError, SyntaxError):  # importing it says so, in a sentence
        return {}
    found = [vars(module)["__file__"] for module in finder.modules.values()]
    files = {Path(file) for file in found if file}
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files - {path})
    }


def require_imported(path: Path | None, known: Mapping[str, str]) -> None:
    """Refuse a file whose imports are others than when ``known`` was read.

    Raises:
        UserCodeError: naming the file that changed.
    """
    found = imported_files(path) if known else {}
    for name, sha256 in known.items():
        if found.get(name) != sha256:
            raise UserCodeError(
                f"{name}, which {path} imports, has changed (sha256 "
                f"{found.get(name, 'none')[:12]} instead of {sha256[:12]}); restore the file, or "
                "start again without the earlier results"
            )


def names_code(text: str) -> bool:
    """Tell whether ``text`` has the form ``net.py:build`` or ``package.module:Name``."""
    return bool(_FILE.fullmatch(text) or _MODULE.fullmatch(text)) and not text.startswith("timm:")


def load_code(text: str, sha256: str | None = None) -> UserCode:
    """Import a file or module that the user named, and return the object in it.

    Of a file whose imports are missing, the one function or class is read alone, with what it uses
    of the file, where it needs none of them; ``notes`` say so.

    Args:
        text: ``path/net.py:build`` or ``package.module:Name``; the name may have dots.
        sha256: what the file must be, if it was loaded before.

    Raises:
        UserCodeError: there is no such file, module or name, the code fails, or the file changed.
    """
    match = _FILE.fullmatch(text) or _MODULE.fullmatch(text)
    if match is None:
        raise UserCodeError(f"'{text}' names no code; use net.py:build or package.module:Name")
    if match["module"].endswith(".py"):
        return _load_file(text, Path(match["module"]), match["name"], sha256)
    with _guarded(f"importing {match['module']}", None):
        if str(Path.cwd()) not in sys.path:  # as with python -m
            sys.path.insert(0, str(Path.cwd()))
        module = importlib.import_module(match["module"])
    value = _attribute(module, match["name"], text)
    path = Path(module.__file__) if module.__file__ else None
    return UserCode(text, value, path, _check_unchanged(path, sha256) if path else None)


def _load_file(text: str, path: Path, name: str, sha256: str | None) -> UserCode:
    found, package = _check_unchanged(path, sha256), _package(path)
    folder, shown = path.resolve().parents[len(package)], f"{path.name}:{name}"
    notes: tuple[str, ...] = ()
    try:
        module = _import_file(path, package, found)
    except UserCodeError as error:
        reason = error.__cause__
        alone = _read_alone(path, name, folder) if isinstance(reason, ImportError) else None
        if alone is None:
            raise
        module = alone
        notes = (f"{shown} was read alone, because its file cannot be imported ({reason})",)
    return UserCode(shown, _attribute(module, name, text), path, found, folder, notes)


def code_takes(text: str) -> tuple[str, ...] | None:
    """Return the names that ``--set`` can give to what ``text`` names; None: any.

    Of a class those of its constructor and of its call, of a method those of its class as well.
    """
    code = load_code(text)
    found = [code.takes]
    if inspect.isclass(code.value):
        call = vars(code.value).get("forward", vars(code.value).get("__call__"))
        found.append(replace(code, value=call).takes if call else ())
    elif "self" in (code.takes or ())[:1]:
        found.append(load_code(text.rpartition(".")[0]).takes)
    known = [names for names in found if names is not None]
    names = dict.fromkeys(name for each in known for name in each if name != "self")
    return tuple(names) if len(known) == len(found) else None


def _check_unchanged(path: Path, sha256: str | None) -> str:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserCodeError(f"{path} cannot be read: {reason}; check the path") from error
    if sha256 is not None and found != sha256:
        raise UserCodeError(
            f"{path} has changed (sha256 {found[:12]} instead of {sha256[:12]}); restore the file, "
            "or start again without the earlier results"
        )
    return found


def _package(path: Path) -> list[str]:
    """Return the names of the packages around a file, the outermost first."""
    names: list[str] = []
    folder = path.resolve().parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names, folder = [folder.name, *names], folder.parent
    return names


def _import_file(path: Path, package: list[str], sha256: str) -> ModuleType:
    """Import a file as ``python FILE`` would: its folder is searched for what it imports.

    A file inside a package is imported as a part of it, so that its relative imports work.
    """
    path = path.resolve()
    if package and path.stem.isidentifier():
        with _searched(path.parents[len(package)]), _guarded(f"importing {path.name}", path):
            return importlib.import_module(".".join((*package, path.stem)))
    place = hashlib.sha256(f"{path} {sha256}".encode("utf-8", "surrogateescape")).hexdigest()
    name = f"{_PREFIX}{path.stem}_{place[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up here
    try:
        with _searched(path.parent), _guarded(f"importing {path.name}", path):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _read_alone(path: Path, name: str, folder: Path) -> ModuleType | None:
    """Run one definition of a file, with what it uses of the file and the imports that it needs.

    Returns:
        What was run as a module; None if there is no such definition.

    Raises:
        UserCodeError: it needs what is missing.
    """
    tree = ast.parse(path.read_bytes(), str(path))
    root = name.partition(".")[0]
    module = ModuleType(f"{_PREFIX}{path.stem}_alone")
    sys.modules[module.__name__] = module  # dataclasses look a class's module up here
    wanted = _needed(root, tree.body)
    if not wanted:
        return None
    for_all = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    nodes = [*for_all, *(node for node in tree.body if node in wanted)]
    try:
        with _searched(folder), contextlib.redirect_stdout(sys.stderr):
            exec(compile(ast.Module(nodes, []), str(path), "exec"), vars(module))
    except Exception as error:
        raise UserCodeError(
            f"{path.name}:{name} needs what cannot be imported here: {described(error, path)}; "
            "install it"
        ) from error
    return module


def _needed(root: str, statements: list[ast.stmt]) -> set[ast.stmt]:
    """Return the statements of a file that a definition uses, directly or by others."""
    found: set[ast.stmt] = set()
    waiting, asked = [root], {root}
    while waiting:
        name = waiting.pop()
        for node in statements:
            if node not in found and name in _bound(node):
                found.add(node)
                used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - asked
                asked |= used
                waiting += used
    return found


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement of a file defines, in its branches too."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return {node.name}
    names = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names.add(each.id)
        elif isinstance(each, ast.FunctionDef | ast.ClassDef):
            names.add(each.name)
        elif isinstance(each, ast.alias):
            names.add((each.asname or each.name).partition(".")[0])
    return names


@contextlib.contextmanager
def _searched(folder: Path) -> Iterator[None]:
    """Search ``folder`` first for imports, and forget afterwards what was imported from it.

    Another folder may have a file of the same name: each file gets its own neighbours.
    """
    known = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder) and not name.startswith(_PREFIX):
                del sys.modules[name]


@contextlib.contextmanager
def _guarded(what: str, path: Path | None) -> Iterator[None]:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except UserCodeError:
        raise
    except SystemExit as error:
        raise UserCodeError(
            f'{what} ends the program; move what runs at import under `if __name__ == "__main__":`'
        ) from error
    except Exception as error:
        raise UserCodeError(f"{what}: {described(error, path)}") from error


def described(error: BaseException, path: Path | None = None) -> str:
    """Return an exception in one line: its type, its message, and where it was raised.

    The place is the last line of the user's file at ``path``; of an exception without a message,
    the line that raised it.
    """
    lines, text = str(error).strip().splitlines(), type(error).__name__
    if lines:
        line = lines[0] if len(lines[0]) <= _LONGEST else f"{lines[0][:_LONGEST]}…"
        text += f": {line.rstrip('.')}"
    own = str(path.resolve()) if path else None
    frames = traceback.extract_tb(error.__traceback__)
    told = [frame for frame in frames if frame.filename == own]
    if not told and not lines:
        told = [frame for frame in frames if "/torch/" not in frame.filename]
    return f"{text} ({Path(told[-1].filename).name}:{told[-1].lineno})" if told else text


def _attribute(module: ModuleType, name: str, text: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            known = [each for each, kind in vars(value).items() if callable(kind)]
            known = [each for each in known if not each.startswith("_")]
            near = did_you_mean(part, known)
            listed = f"; it defines {', '.join(known[:8])}" if known and not near else ""
            raise UserCodeError(f"{text}: there is no '{part}' in it{near}{listed}")
        value = getattr(value, part)
    return value
