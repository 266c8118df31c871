"""Functions and classes of Python code that the user names: ``net.py:build``, ``pkg.module:Name``.

Such code runs only because the user named it. What it prints goes to stderr, so that it cannot
break a table or a JSON document on stdout.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
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
        text: as the user named it.
        name: ``net.py:build``, without the folder.
        value: the object.
        path: the file; None for a module that has none.
        sha256: of the file.
        searched: the folder that its imports are looked up in; None: as in all of Python.
    """

    text: str
    name: str
    value: Any
    path: Path | None
    sha256: str | None
    searched: Path | None = None

    def call(self, **arguments: Any) -> Any:
        """Call the object; what it raises becomes a :class:`UserCodeError`."""
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        with self.running(f"{self.name}({given})"):
            return self.value(**arguments)

    @contextlib.contextmanager
    def running(self, what: str) -> Iterator[None]:
        """Run code of this file: its output goes to stderr, its errors become sentences."""
        folder = _searched(self.searched) if self.searched else contextlib.nullcontext()
        with _guarded(what, self.path), folder:
            yield


def names_code(text: str) -> bool:
    """Tell whether ``text`` has the form ``net.py:build`` or ``package.module:Name``."""
    return bool(_FILE.fullmatch(text) or _MODULE.fullmatch(text)) and not text.startswith("timm:")


def load_code(text: str, sha256: str | None = None) -> UserCode:
    """Import a file or module that the user named, and return the object in it.

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
        path = Path(match["module"])
        found = _check_unchanged(path, sha256)
        package = _package(path)
        value = _attribute(_import_file(path, package, found), match["name"], text)
        folder = path.resolve().parents[len(package)]
        return UserCode(text, f"{path.name}:{match['name']}", value, path, found, folder)
    module = _import_module(match["module"])
    value = _attribute(module, match["name"], text)
    if module.__file__ is None:
        return UserCode(text, text, value, None, None)
    path = Path(module.__file__)
    return UserCode(text, text, value, path, _check_unchanged(path, sha256))


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


def _import_module(name: str) -> ModuleType:
    with _guarded(f"importing {name}", None):
        if str(Path.cwd()) not in sys.path:  # as with python -m
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(name)


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
