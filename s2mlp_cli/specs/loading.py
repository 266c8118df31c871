"""Loading a spec: found by name or path, merged with its bases and ``--set``, checked once.

Mappings merge key by key, everything else is replaced. ``set`` reaches into lists by dotted
keys, ``stages.0.depth``, in a file just as ``--set`` does on the command line.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from s2mlp_cli.errors import SpecError, did_you_mean, printable, visible
from s2mlp_cli.specs.comparison import GFNetSpec, TimmSpec, VipSpec
from s2mlp_cli.specs.explain import explain
from s2mlp_cli.specs.model import ModelSpec, S2MLPSpec
from s2mlp_cli.specs.timm_names import TIMM, timm_config, timm_document
from s2mlp_cli.specs.yaml_source import (
    Document,
    KeyPath,
    Origin,
    dotted,
    parse_value,
    read_document,
)

SUFFIXES = (".yaml", ".yml")

# family -> its class.
FAMILIES: dict[str, type[ModelSpec]] = {
    "s2mlp": S2MLPSpec,
    "vip": VipSpec,
    "gfnet": GFNetSpec,
    "timm": TimmSpec,
}

_NOT_SETTABLE = ("extends", "set", "family")


def spec_keys() -> tuple[str, ...]:
    """Return the top keys of every family, which ``--set`` can reach."""
    return tuple(dict.fromkeys(key for kind in FAMILIES.values() for key in kind.model_fields))


@functools.cache
def folder() -> Path:
    """Return the folder of the built-in specs: in the wheel, or at the top of the repository."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "model_specs"
    return installed if installed.is_dir() else package.parent / "model_specs"


@functools.cache
def _files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder().rglob("*.yaml"))}


def names() -> tuple[str, ...]:
    """Return the names of the built-in specs: main variants first, then those in subfolders."""
    files = _files()
    return tuple(sorted(files, key=lambda name: (files[name].parent != folder(), files[name])))


def load_spec(name_or_path: str | Path, overrides: tuple[str, ...] = ()) -> ModelSpec:
    """Load a built-in spec by name, or your own by path.

    Args:
        name_or_path: such as ``v2-medium``, ``my/model.yaml`` or ``timm:NAME``.
        overrides: ``key=value`` texts as for ``--set``; they become part of the spec's name.

    Raises:
        SpecError: with one sentence that names file, line, key, found, allowed, nearest name.
    """
    text = str(name_or_path)
    return built_in(text) if text in _files() and not overrides else _load(text, overrides)


@functools.cache
def built_in(name: str) -> ModelSpec:
    """Return a built-in spec, read once: a checkpoint is compared with all of them."""
    return _load(name, ())


def _load(text: str, overrides: tuple[str, ...]) -> ModelSpec:
    if text.startswith(TIMM):
        document, stem = timm_document(text), text
    else:
        path = _find(text)
        document, stem = _merged(path), printable(path.stem)
    written = [printable(override) for override in overrides]
    for override in written:
        _override(document, override, text)
    name = document.data.setdefault("name", stem)
    if written:
        shown = [visible(override) for override in written]
        if isinstance(name, str):
            document.data["name"] = f"{name}[{', '.join(shown)}]"
        keys = [each.partition("=")[0] for each in shown]
        changes = (each for each, key in zip(shown, keys, strict=True) if key not in _TITLES)
        _retitle(document, changes, keys)
    return _validated(document)


def with_input_size(spec: ModelSpec, size: tuple[int, int]) -> ModelSpec:
    """Return ``spec`` at another image size (height, width), checked as if a file had said so.

    Raises:
        SpecError: the model does not support that size.
    """
    if size == spec.input_size:
        return spec
    fields = {name: getattr(spec, name) for name in type(spec).model_fields}
    try:
        return type(spec).model_validate({**fields, "input_size": size})
    except ValidationError as error:
        origin = Origin(f"{spec.name} at {size[0]}x{size[1]}")
        raise explain(error, Document({}, {(): origin}), type(spec)) from error


def from_record(kept: Mapping[str, Any]) -> ModelSpec:
    """Return the spec that a record kept as data (``model_dump``).

    Raises:
        SpecError: it does not fit the schema of its family.
    """
    origin = Origin(f"the spec of {kept.get('name')} in the record")
    return _validated(Document(dict(kept), {(): origin}))


# Finding -----------------------------------------------------------------------------------------


def _find(name: str, beside: Path = Path(), where: str = "") -> Path:
    """Return the file of a built-in name, or of a path, which starts at the folder ``beside``."""
    if name in _files():
        return _files()[name]
    if name.lower().endswith(SUFFIXES) or "/" in name or "\\" in name:
        return beside / name
    raise SpecError(
        f"{where}there is no model '{name}'{did_you_mean(name, names()) or ';'} `s2mlp models` "
        "lists them; a path to a YAML file and timm:NAME work too"
    )


# Merging -----------------------------------------------------------------------------------------


def _merged(path: Path, named_at: Origin | None = None, above: tuple[Path, ...] = ()) -> Document:
    """Read ``path`` and its bases, and merge them from the root down.

    Args:
        path: the file.
        named_at: where another file names it as its base.
        above: the files that extend it.

    Raises:
        SpecError: a file is wrong, a base is unknown, or the bases go in a circle.
    """
    document = read_document(path, named_at, layer=-len(above))
    here = (*above, path.resolve())
    if here[-1] in above:
        circle = " -> ".join(step.stem for step in here)
        raise SpecError(f"{named_at}: extends: found a circle, {circle}; allowed: none")
    merged, data, own = document, document.data, document.origins[()]
    settings, changes = data.pop("set", {}), list[str]()
    if "extends" in data:
        merged = _base(document, path.parent, here)
        changes += _changes(data)
        _merge(merged, document, merged.data, data)
        merged.origins[()] = replace(own, layer=merged.origins[()].layer)
    if not isinstance(settings, dict):
        raise SpecError(
            f"{document.origin(('set',))}: set: found {settings!r:.60}; allowed: a mapping such as "
            "{stages.0.depth: 2}"
        )
    for key, value in settings.items():
        _set(merged, key, value, document.origin(("set", key)))
    if merged is not document and not _is_built_in(own):
        _retitle(merged, [*changes, *_changes(settings)], data)
    return merged


def _base(document: Document, folder: Path, here: tuple[Path, ...]) -> Document:
    """Return what ``document`` extends, without the name, which is a file's own."""
    origin, name = document.origin(("extends",)), document.data.pop("extends")
    if not isinstance(name, str):
        raise SpecError(f"{origin}: extends: found {name!r:.60}; allowed: one name or path")
    if name.startswith(TIMM):
        raise SpecError(
            f"{origin}: extends: found '{name}'; allowed: a spec; write 'family: timm' and "
            f"'timm: {name.removeprefix(TIMM)}' instead"
        )
    base = _merged(_find(name, folder, f"{origin}: extends: "), origin, here)
    base.data.pop("name", None)
    # A base's keys mean nothing to another family: its faults would be blamed on the base.
    of_base = base.data.get("family", "s2mlp")
    family = document.data.get("family", of_base)
    if family != of_base:
        raise SpecError(
            f"{document.origin(('family',))}: family: found {family!r:.60}; "
            f"allowed: that of its base, '{of_base}'"
        )
    return base


def _merge(
    into: Document,
    layer: Document,
    target: dict[str, Any],
    source: dict[str, Any],
    above: KeyPath = (),
) -> None:
    """Merge the mapping ``source`` of ``layer`` over ``target`` of ``into``, both at ``above``."""
    for name, value in source.items():
        key = (*above, name)
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(into, layer, target[name], value, key)
        else:
            target[name] = value
            into.forget_origins(key)
            origins = layer.origins.items()
            into.origins.update({known: at for known, at in origins if known[: len(key)] == key})


def _override(document: Document, override: str, model: str) -> None:
    """Apply one ``--set key=value`` option.

    It goes to every model of a command: a fault is told with the ``model`` that it is a fault of.

    Raises:
        SpecError: it has no ``=``, or its key leads nowhere.
    """
    key, equals, text = override.partition("=")
    origin = Origin(f"--set {override} for {model}", layer=1)
    if not equals or not key:
        lacking = "key" if equals else "'='"
        raise SpecError(f"{origin}: found no {lacking}; allowed: KEY=VALUE, stages.0.depth=2")
    _set(document, key, parse_value(text, str(origin)), origin)


def _set(document: Document, text: str, value: Any, origin: Origin) -> None:
    """Put ``value`` at the dotted key; mappings on the way are made, list items must exist."""
    *path, last = text.split(".")
    if text in _NOT_SETTABLE:
        raise SpecError(f"{origin}: {text} cannot be set; write it at the top of a file")
    container: Any = document.data
    key: KeyPath = ()
    for word in [*path, last]:
        step = _index(container, word, (*key, word), origin)
        key = (*key, step)
        if len(key) <= len(path):
            if isinstance(container, dict) and word not in container:
                container[word] = {}
                document.origins[key] = origin
            container = container[step]
    container[key[-1]] = value
    document.forget_origins(key)
    document.origins[key] = origin


def _index(container: Any, word: str, key: KeyPath, origin: Origin) -> str | int:
    if isinstance(container, dict):
        return word
    if not isinstance(container, list):
        raise SpecError(f"{origin}: {dotted(key[:-1])} is a single value, it has no '{word}'")
    index = {str(number): number for number in range(len(container))}.get(word)
    if index is None:
        allowed = f"0 to {len(container) - 1}" if container else "nothing, the list is empty"
        raise SpecError(f"{origin}: {dotted(key)}: found '{word}'; allowed: {allowed}")
    return index


# The title of a changed spec ---------------------------------------------------------------------

_TITLES = ("name", "title", "source")

# Characters of a title, as the schema allows them.
_LONGEST_TITLE = 200


def _changes(data: dict[str, Any], above: str = "") -> Iterable[str]:
    """Yield what a file changes in its base as ``key=value``; of a list only the key."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _changes(value, f"{above}{key}.")
        elif above or key not in _TITLES:
            yield visible(f"{above}{key}" if isinstance(value, list) else f"{above}{key}={value}")


def _retitle(document: Document, changes: Iterable[str], own: Iterable[str] = ()) -> None:
    """Say in an inherited title and source what was changed: the paper did not describe that.

    Args:
        document: after the changes.
        changes: as ``key=value``.
        own: the keys that the changing file gives itself.
    """
    listed, data = ", ".join(changes), document.data
    title, source = data.get("title"), data.get("source")
    if not listed:
        return
    if isinstance(title, str) and title and "title" not in own:
        joined = ", " if ", changed: " in title else ", changed: "
        text = f"{title}{joined}{listed}"
        data["title"] = text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"
    if isinstance(source, str) and source and "source" not in own:
        data["source"] = f"changed from {source.removeprefix('changed from ')}"


def _is_built_in(origin: Origin) -> bool:
    return Path(origin.file).is_relative_to(folder())


# Checking ----------------------------------------------------------------------------------------


def _validated(document: Document) -> ModelSpec:
    """Check merged data against the schema of its family.

    Raises:
        SpecError: naming the origin of the first fault.
    """
    family = document.data.get("family", "s2mlp")
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpecError(
            f"{document.origin(('family',))}: family: found {family!r:.60}; "
            f"allowed: {', '.join(FAMILIES)}{did_you_mean(str(family), FAMILIES)}"
        )
    schema = FAMILIES[family]
    try:
        spec = schema.model_validate(document.data)
    except ValidationError as error:
        raise explain(error, document, schema) from error
    if isinstance(spec, TimmSpec):
        _check_timm(spec, document.origin(("timm",)))
    return spec


def _check_timm(spec: TimmSpec, origin: Origin) -> None:
    """Refuse a name that timm does not have. Built-in specs are known to be right, without timm."""
    if not origin.file.startswith(TIMM) and not _is_built_in(origin):
        timm_config(spec.timm, f"{origin}: timm")
