"""What must be said before records are compared: other specs of one name, other settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from s2mlp_cli.records.base import Record
from s2mlp_cli.records.count import CountRecord
from s2mlp_cli.records.profile import ProfileRecord
from s2mlp_cli.records.validate import ValidateRecord, ValidateResult

# model -> what to call it, where its own name means something else in another record.
Names = Mapping[str, str]
NO_NAMES: Names = {}

# What does not change a model; its input size is in the name of every row.
_WORDS = ("name", "title", "source", "published", "input_size")

# Differences that a sentence names.
_MOST = 3


def settings_remarks(records: Sequence[Record]) -> list[str]:
    """Say in which settings validations differ: scores of other batches or inputs are others."""
    found = [
        _settings(record.results[0])
        for record in records
        if isinstance(record, ValidateRecord) and len(record.results) == 1
    ]
    if len(found) != len(records):
        return []
    said = [
        f"{name} {' and '.join(dict.fromkeys(_said(each[name]) for each in found))}"
        for name in found[0]
        if any(each[name] != found[0][name] for each in found)
    ]
    return [f"the validations differ in: {', '.join(said)}"] if said else []


def _said(setting: object) -> str:
    return "unknown" if setting is None else str(setting)


def _settings(result: ValidateResult) -> dict[str, Any]:
    inputs = result.preprocessing
    return {
        "runtime": result.runtime,
        "dtype": result.dtype,
        "batch size": result.batch_size,
        "shift": result.shift,
        "input size": "x".join(map(str, inputs.input_size)),
        "crop": inputs.crop_pct,
        "interpolation": inputs.interpolation,
        "transform": inputs.transform,
        "mean": inputs.mean,
        "std": inputs.std,
    }


def own_names(paths: Sequence[Path], records: Sequence[Record]) -> tuple[list[Names], list[str]]:
    """Find the models whose name means another spec in another record.

    Returns:
        For each record what to call them (in profiles: a time of one model says nothing of
        another's), and a sentence for each such model.
    """
    specs = [_specs(record) for record in records]
    names: list[dict[str, str]] = [{} for _ in records]
    remarks = []
    for model in dict.fromkeys(model for each in specs for model in each):
        # The different specs of this name, each with the first record that has it.
        kinds: list[tuple[dict[str, Any], Path]] = []
        for own, path in zip(specs, paths, strict=True):
            if own.get(model) and all(spec != own[model] for spec, _ in kinds):
                kinds.append((own[model], path))
        if len(kinds) > 1:
            remarks.append(_sentence(model, kinds))
            for own, called in zip(specs, names, strict=True):
                for spec, path in kinds:
                    if spec == own.get(model):
                        called[model] = f"{model} of {path}"
    if not isinstance(records[0], ProfileRecord):
        return [NO_NAMES for _ in records], remarks
    told = [f"{remark}; its times are not compared" for remark in remarks]
    files = [each for record in records for each in _exported(record)]
    if len(set(files)) > 1:
        told.append(f"the exported files are {' and '.join(dict.fromkeys(files))}")
    return list(names), told


def _exported(record: Record) -> Iterator[str]:
    """Yield the exported files that a profile timed, which are compared whatever is in them."""
    for row in record.results:
        if row.source is not None and row.source.kind == "exported":
            yield f"{row.model} ({row.runtime_precision or row.dtype})"


def _specs(record: Record) -> dict[str, dict[str, Any]]:
    """Return the specs in a record by model, each as a flat table of its keys."""
    if isinstance(record, ProfileRecord):
        return {model: dict(_flat(spec)) for model, spec in record.specs.items()}
    if isinstance(record, CountRecord):
        return {result.model: dict(_flat(result.spec)) for result in record.results}
    return {}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        items: Iterator[tuple[Any, Any]] = iter(value.items())
    elif isinstance(value, (list, tuple)):
        items = iter(enumerate(value))
    else:
        yield path, value
        return
    for key, each in items:
        if path or key not in _WORDS:
            yield from _flat(each, f"{path}.{key}" if path else str(key))


def _sentence(model: str, kinds: Sequence[tuple[dict[str, Any], Path]]) -> str:
    """Name the keys in which the first two specs of a model differ."""
    (first, here), (other, there) = kinds[:2]
    keys = [key for key in {**first, **other} if first.get(key) != other.get(key)]
    said = ", ".join(f"{key} {first.get(key)} and {other.get(key)}" for key in keys[:_MOST])
    more = f" and {len(keys) - _MOST} more" if len(keys) > _MOST else ""
    return f"{model} has another spec in {here} than in {there} ({said}{more})"
