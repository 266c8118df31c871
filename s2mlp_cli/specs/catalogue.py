"""Finding and loading specs: built-in ones by name, a user's own by path."""

from __future__ import annotations

import functools
from pathlib import Path

from pydantic import ValidationError

from s2mlp_cli.errors import SpecError, did_you_mean
from s2mlp_cli.specs.explain import explain
from s2mlp_cli.specs.families import FAMILIES
from s2mlp_cli.specs.merge import apply_overrides, resolve
from s2mlp_cli.specs.model import BaseSpec
from s2mlp_cli.specs.source import Document, Origin
from s2mlp_cli.specs.timm_names import TIMM, timm_document

SUFFIXES = (".yaml", ".yml")


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


def load_document(name_or_path: str, overrides: tuple[str, ...] = ()) -> Document:
    """Return the merged data of a spec with the origin of each key, not validated yet."""
    if name_or_path.startswith(TIMM):
        document = timm_document(name_or_path)
    else:
        document = resolve(_find(name_or_path, Path.cwd(), None), _find)
    apply_overrides(document, overrides, name_or_path)
    return document


def load_spec(name_or_path: str | Path, overrides: tuple[str, ...] = ()) -> BaseSpec:
    """Load a built-in spec by name, or a user's own by path.

    Args:
        name_or_path: such as ``v2-medium``, ``my/model.yaml`` or ``timm:NAME``.
        overrides: ``key=value`` texts as for ``--set``; they become part of the spec's name.

    Raises:
        SpecError: with one sentence that names file, line, key, found, allowed, nearest name.
    """
    name_or_path = str(name_or_path)
    document = load_document(name_or_path, overrides)
    stem = Path(name_or_path).stem if _is_path(name_or_path) else name_or_path
    name = document.data.setdefault("name", stem)
    if overrides and isinstance(name, str):
        document.data["name"] = f"{name}[{', '.join(overrides)}]"
    return validate(document)


@functools.cache
def built_in(name: str) -> BaseSpec:
    """Return a built-in spec, read once: a checkpoint is compared with all of them."""
    return load_spec(name)


def with_input_size(spec: BaseSpec, size: tuple[int, int]) -> BaseSpec:
    """Return ``spec`` at another image size (height, width), checked as if a file had said so.

    Raises:
        SpecError: the model cannot take that size.
    """
    origin = Origin(f"{spec.name} at {size[0]}x{size[1]}")
    data = {**spec.model_dump(mode="json"), "input_size": list(size)}
    return validate(Document(data, {(): origin}))


def validate(document: Document) -> BaseSpec:
    """Check merged data against the schema of its family.

    Raises:
        SpecError: naming the origin of the first fault.
    """
    family = document.data.get("family", "s2mlp")
    if not isinstance(family, str) or family not in FAMILIES:
        raise SpecError(
            f"{document.origin(('family',))}: family: found {family!r}; "
            f"allowed: {', '.join(FAMILIES)}{did_you_mean(str(family), FAMILIES)}"
        )
    schema = FAMILIES[family]
    try:
        return schema.model_validate(document.data)
    except ValidationError as error:
        raise explain(error, document, schema) from error


def _is_path(text: str) -> bool:
    if text.startswith(TIMM):
        return False
    return text.lower().endswith(SUFFIXES) or "/" in text or "\\" in text


def _find(name: str, base: Path, origin: Origin | None) -> Path:
    """Return the file of a built-in name, or of a path relative to ``base``."""
    if _is_path(name):
        return base / name if origin else Path(name)
    if origin and name.startswith(TIMM):
        raise SpecError(
            f"{origin}: extends: found '{name}'; allowed: a spec; write 'family: timm' and "
            f"'timm: {name.removeprefix(TIMM)}' instead"
        )
    if name not in _files():
        where = f"{origin}: extends: " if origin else ""
        raise SpecError(
            f"{where}there is no model '{name}'{did_you_mean(name, _files()) or ';'} "
            "`s2mlp models` lists them; a path to a YAML file and timm:NAME work too"
        )
    return _files()[name]
