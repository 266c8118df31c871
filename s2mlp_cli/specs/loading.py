"""Loading a spec: found by name or path, merged with its bases and ``--set``, checked once.

Mappings merge key by key, everything else is replaced. ``set`` reaches into lists by dotted
keys, ``stages.0.depth``, in a file just as ``--set`` does on the command line.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
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

_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = _PACKAGE / "model_specs"
# The built-in specs: in the wheel, or at the top of the repository.
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "model_specs"


def spec_keys() -> tuple[str, ...]:
    """Return the top keys of every family, which ``--set`` can reach."""
    return tuple(dict.fromkeys(key for kind in FAMILIES.values() for key in kind.model_fields))


@functools.cache
def _files() -> dict[str, Path]:
    paths = sorted(FOLDER.rglob("*.yaml"), key=lambda path: (path.parent != FOLDER, path))
    return {path.stem: path for path in paths}


def names() -> tuple[str, ...]:
    """Return the names of the built-in specs: main variants first, then those in subfolders."""
    return tuple(_files())


def load_spec(name_or_path: str | Path, overrides: tuple[str, ...] = ()) -> ModelSpec:
    """Load a built-in spec by name, or your own by path.

    Args:
        name_or_path: such as ``v2-medium``, ``my/model.yaml`` or ``timm:NAME``.
        overrides: ``key=value`` texts as for ``--set``; they become part of the spec's name.

    Raises:
        SpecError: with one sentence that names file, line, key, found, allowed, nearest name.
    """
    text = str(name_or_path)
    if text in _files() and not overrides:
        return built_in(text)
    document = timm_document(text) if text.startswith(TIMM) else _merged(_find(text))
    written = [printable(override) for override in overrides]
    for override in written:
        _override(document, override, text)
    name = document.data["name"]
    if written and isinstance(name, str):
        document.data["name"] = f"{name}[{', '.join(map(visible, written))}]"
    _retitle(document)
    return _validated(document)


@functools.cache
def built_in(name: str) -> ModelSpec:
    """Return a built-in spec, read once: a checkpoint is compared with all of them."""
    return _validated(_merged(_files()[name]))


def with_input_size(spec: ModelSpec, size: tuple[int, int]) -> ModelSpec:
    """Return ``spec`` at another image size (height, width), checked as if a file had said so.

    Raises:
        SpecError: the model does not support that size.
    """
    if size == spec.input_size:
        return spec
    origin = Origin(f"{spec.name} at {size[0]}x{size[1]}")
    return _validated(Document({**spec.model_dump(), "input_size": size}, {(): origin}))


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


def _with_bases(path: Path) -> list[Document]:
    """Read ``path``, its base, the base of that, and so on up to the root."""
    found: dict[Path, Document] = {}
    named_at: Origin | None = None
    while True:
        document = read_document(path, named_at, layer=-len(found))
        resolved = path.resolve()
        if resolved in found:
            circle = " -> ".join(step.stem for step in (*found, resolved))
            raise SpecError(f"{named_at}: extends: found a circle, {circle}; allowed: none")
        found[resolved] = document
        if "extends" not in document.data:
            return list(found.values())
        named_at, name = document.origin(("extends",)), document.data.pop("extends")
        if not isinstance(name, str):
            raise SpecError(f"{named_at}: extends: found {name!r:.60}; allowed: one name or path")
        if name.startswith(TIMM):
            raise SpecError(
                f"{named_at}: extends: found '{name}'; allowed: a spec; write 'family: timm' and "
                f"'timm: {name.removeprefix(TIMM)}' instead"
            )
        path = _find(name, path.parent, f"{named_at}: extends: ")


# Merging -----------------------------------------------------------------------------------------


def _merged(path: Path) -> Document:
    """Return ``path`` merged with its bases, from the root down."""
    files = _with_bases(path)
    merged = Document({})
    for document in reversed(files):
        _extend(merged, document)
    # What no file says is missing in the one that was named, but was not written there.
    merged.origins[()] = replace(files[0].origins[()], layer=files[-1].origins[()].layer)
    merged.data.setdefault("name", printable(path.stem))
    return merged


def _extend(base: Document, document: Document) -> None:
    """Merge ``document`` over its base; the name of the base is a file's own."""
    # A base's keys mean nothing to another family: its faults would be blamed on the base.
    of_base = base.data.get("family", "s2mlp")
    family = document.data.get("family", of_base)
    if base.data and family != of_base:
        raise SpecError(
            f"{document.origin(('family',))}: family: found {family!r:.60}; "
            f"allowed: that of its base, '{of_base}'"
        )
    base.data.pop("name", None)
    settings = document.data.pop("set", {})
    _merge(base, document, base.data, document.data)
    if not isinstance(settings, dict):
        raise SpecError(
            f"{document.origin(('set',))}: set: found {settings!r:.60}; allowed: a mapping such as "
            "{stages.0.depth: 2}"
        )
    for key, value in settings.items():
        _set(base, key, value, document.origin(("set", key)))


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
    """
    key, equals, text = override.partition("=")
    origin = Origin(f"--set {override} for {model}", layer=1)
    if not equals or not key:
        lacking = "key" if equals else "'='"
        raise SpecError(f"{origin}: found no {lacking}; allowed: KEY=VALUE, stages.0.depth=2")
    _set(document, key, parse_value(text, str(origin)), origin)


def _set(document: Document, text: str, value: Any, origin: Origin) -> None:
    """Put ``value`` at the dotted key; mappings on the way are made, list items must exist."""
    if text in _NOT_SETTABLE:
        raise SpecError(f"{origin}: {text} cannot be set; write it at the top of a file")
    container: Any = document.data
    key: KeyPath = ()
    *path, last = text.split(".")
    for word in path:
        key = (*key, _index(container, word, (*key, word), origin))
        if isinstance(container, dict) and word not in container:
            container[word] = {}
            document.origins[key] = origin
        container = container[key[-1]]
    key = (*key, _index(container, last, (*key, last), origin))
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


def _retitle(document: Document) -> None:
    """Say in an inherited title and source what was changed: the paper did not describe that."""
    data = document.data
    title, source = data.get("title"), data.get("source")
    changes = ", ".join(_changes_since(document, "title"))
    if changes and isinstance(title, str) and title:
        joined = ", " if ", changed: " in title else ", changed: "
        text = f"{title}{joined}{changes}"
        data["title"] = text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"
    if isinstance(source, str) and source and any(_changes_since(document, "source")):
        data["source"] = f"changed from {source.removeprefix('changed from ')}"


def _changes_since(document: Document, known: str) -> Iterator[str]:
    """Yield what files and options wrote over the one that has ``known``: ``stages.0.depth=1``.

    Of a list it is only the key. Built-in specs extend each other, and are what the papers say.
    """
    layer = document.origin((known,)).layer
    for key, origin in document.origins.items():
        if origin.layer <= layer or key[0] in _TITLES or _is_built_in(origin):
            continue
        if document.origin(key[:-1]).layer > layer:
            continue  # the list around it is named
        value: Any = document.data
        for step in key:
            value = value[step]
        yield visible(dotted(key) + ("" if isinstance(value, dict | list) else f"={value}"))


def _is_built_in(origin: Origin) -> bool:
    return Path(origin.file).is_relative_to(FOLDER)


# Checking ----------------------------------------------------------------------------------------


def _validated(document: Document) -> ModelSpec:
    """Check merged data against the schema of its family."""
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
        origin = document.origin(("timm",))
        # A built-in spec is right without a look at timm, which takes seconds to import.
        if not origin.file.startswith(TIMM) and not _is_built_in(origin):
            timm_config(spec.timm, f"{origin}: timm")
    return spec
