"""``extends``, ``set`` and ``--set``: from a file and its bases to one document.

Mappings merge key by key, everything else is replaced. ``set`` reaches into lists by dotted
keys, ``stages.0.depth``, in a file just as ``--set`` does on the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from s2mlp_cli.errors import SpecError
from s2mlp_cli.specs.source import Document, Key, Origin, dotted, parse_value, read_document

# The layer of --set: above any file.
_COMMAND_LINE = 1000

_NOT_SETTABLE = ("extends", "set", "family")

# (name, folder of the file that names it, where it is named) -> the file of that base.
Finder = Callable[[str, Path, Origin], Path]


def resolve(path: Path, find: Finder) -> Document:
    """Read ``path`` and its bases, and merge them from the root down.

    Raises:
        SpecError: a file is wrong, a base is unknown, or the bases go in a circle.
    """
    chain = _chain(path, find)
    merged = Document({}, {(): chain[0].origins[()]})
    for layer, document in enumerate(reversed(chain)):
        document.origins = {
            key: replace(origin, layer=layer) for key, origin in document.origins.items()
        }
        _refuse_another_family(merged, document)
        settings = document.data.pop("set", {})
        document.data.pop("extends", None)
        if document is not chain[0]:  # a base's name is its own
            document.data.pop("name", None)
        _merge(merged, document, ())
        _apply_all(merged, settings, document)
    return merged


def apply_overrides(document: Document, overrides: tuple[str, ...], model: str) -> None:
    """Apply ``--set key=value`` options to ``document``, in order.

    They go to every model of a command: a fault is told with the ``model`` that it is a fault of.

    Raises:
        SpecError: one has no ``=``, or its key leads nowhere.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        origin = Origin(f"--set {override} for {model}", layer=_COMMAND_LINE)
        if not equals or not key:
            lacking = "key" if equals else "'='"
            raise SpecError(f"{origin}: found no {lacking}; allowed: KEY=VALUE, stages.0.depth=2")
        _apply(document, key, parse_value(text, str(origin)), origin)


def _chain(path: Path, find: Finder) -> list[Document]:
    """Return the documents from ``path`` up to its root."""
    documents: list[Document] = []
    seen: list[Path] = []
    origin: Origin | None = None
    while True:
        document = read_document(path, origin)
        if path.resolve() in seen:
            circle = " -> ".join(step.stem for step in [*seen, path])
            raise SpecError(f"{origin}: extends: found a circle, {circle}; allowed: none")
        documents.append(document)
        seen.append(path.resolve())
        if "extends" not in document.data:
            return documents
        base = document.data["extends"]
        origin = document.origin(("extends",))
        if not isinstance(base, str):
            raise SpecError(f"{origin}: extends: found {base!r}; allowed: one name or path")
        path = find(base, path.parent, origin)


def _refuse_another_family(merged: Document, document: Document) -> None:
    """A base's keys mean nothing to another family: its faults would be blamed on the base."""
    family = document.data.get("family")
    base = merged.data.get("family", "s2mlp")
    if family is not None and merged.data and family != base:
        raise SpecError(
            f"{document.origin(('family',))}: family: found {family!r}; "
            f"allowed: that of its base, '{base}'"
        )


def _merge(into: Document, layer: Document, key: Key) -> None:
    """Merge the mapping at ``key`` of ``layer`` over the one at ``key`` of ``into``."""
    target, source = _at(into.data, key), _at(layer.data, key)
    for name, value in source.items():
        inner = (*key, name)
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(into, layer, inner)
        else:
            target[name] = value
            _copy_origins(into, layer, inner)


def _copy_origins(into: Document, layer: Document, key: Key) -> None:
    size = len(key)
    for known in [known for known in into.origins if known[:size] == key]:
        del into.origins[known]
    into.origins.update(
        {known: origin for known, origin in layer.origins.items() if known[:size] == key}
    )


def _apply_all(merged: Document, settings: Any, document: Document) -> None:
    if not isinstance(settings, dict):
        raise SpecError(
            f"{document.origin(('set',))}: set: found {settings!r}; allowed: a mapping such as "
            "{stages.0.depth: 2}"
        )
    for key, value in settings.items():
        _apply(merged, key, value, document.origin(("set", key)))


def _apply(document: Document, text: str, value: Any, origin: Origin) -> None:
    """Put ``value`` at the dotted key; mappings on the way are made, list items must exist."""
    *path, last = text.split(".")
    if text in _NOT_SETTABLE:
        raise SpecError(f"{origin}: {text} cannot be set; write it at the top of a file")
    container: Any = document.data
    key: Key = ()
    for part in [*path, last]:
        part_key = _index(container, part, (*key, part), origin)
        key = (*key, part_key)
        if len(key) <= len(path):
            if isinstance(container, dict) and part not in container:
                container[part] = {}
                document.origins[key] = origin
            container = container[part_key]
    container[key[-1]] = value
    for known in [known for known in document.origins if known[: len(key)] == key]:
        del document.origins[known]
    document.origins[key] = origin


def _index(container: Any, part: str, key: Key, origin: Origin) -> str | int:
    if isinstance(container, dict):
        return part
    if not isinstance(container, list):
        raise SpecError(f"{origin}: {dotted(key[:-1])} is a single value, it has no '{part}'")
    index = {str(number): number for number in range(len(container))}.get(part)
    if index is None:
        allowed = f"0 to {len(container) - 1}" if container else "nothing, the list is empty"
        raise SpecError(f"{origin}: {dotted(key)}: found '{part}'; allowed: {allowed}")
    return index


def _at(data: Any, key: Key) -> Any:
    for part in key:
        data = data[part]
    return data
