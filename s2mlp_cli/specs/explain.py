"""A validation error of the schema library, turned into the one sentence that a user needs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from s2mlp_cli.errors import SpecError, did_you_mean
from s2mlp_cli.specs.yaml_source import Document, KeyPath, dotted

# Kind of fault -> what is allowed, from the context that the schema library gives.
_ALLOWED = {
    "misfit": "{allowed}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} character",
    "literal_error": "{expected}",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of sensible size",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}


def explain(error: ValidationError, document: Document, schema: type[BaseModel]) -> SpecError:
    """Return a sentence on the first fault: file, line, key, found, allowed, nearest name.

    An unknown key is told before a missing one, since a misspelt key causes both.
    """
    faults = sorted(error.errors(), key=lambda fault: fault["type"] == "missing")
    fault: Any = faults[0]
    context = fault.get("ctx", {})
    # Of the keys that do not fit each other, the one that was written last is to blame.
    keys = map(tuple, context.get("at") or [fault["loc"]])
    key: KeyPath = max(keys, key=lambda key: document.origin(key).layer)
    where = f"{document.origin(key)}: {dotted(key)}"
    if fault["type"] == "missing":
        return SpecError(f"{where}: found nothing; allowed: {_described(schema, key)}")
    if fault["type"] == "extra_forbidden":
        known = _fields(schema, key[:-1])
        return SpecError(
            f"{where}: found an unknown key{did_you_mean(str(key[-1]), known) or ';'} "
            f"allowed: {', '.join(known)}"
        )
    found = context["found"] if fault["type"] == "misfit" else _found(fault["input"])
    allowed = _allowed(fault["type"], context, fault["msg"])
    if fault["type"] == "literal_error":
        choices = [choice.strip("' ") for choice in allowed.replace(" or ", ", ").split(", ")]
        allowed += did_you_mean(str(fault["input"]), choices)
    return SpecError(f"{where}: found {found}; allowed: {allowed}", reason=f"supports {allowed}")


def _allowed(kind: str, context: dict[str, Any], message: str) -> str:
    if kind not in _ALLOWED:
        return message[:1].lower() + message[1:]
    numbers = {name: f"{each:,}" for name, each in context.items() if isinstance(each, int)}
    return _ALLOWED[kind].format(**{**context, **numbers})


def _found(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing"
    text = f"'{value}'" if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields(schema: type[BaseModel], key: KeyPath) -> list[str]:
    """Return the names that are allowed inside the mapping at ``key``."""
    model = _model_at(schema, key)
    extra = [] if key else ["extends", "set"]
    return [*extra, *(model.model_fields if model else ())]


def _described(schema: type[BaseModel], key: KeyPath) -> str:
    model = _model_at(schema, key[:-1])
    field = model.model_fields.get(str(key[-1])) if model else None
    text = field.description if field and field.description else "a value, since it is required"
    return text[:1].lower() + text[1:].rstrip(".")


def _model_at(schema: type[BaseModel], key: KeyPath) -> type[BaseModel] | None:
    """Follow ``key`` through the annotations; a number means an item of a list."""
    model: Any = schema
    for part in key:
        if isinstance(part, str):
            field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
            if field is None:
                return None
            model = field.annotation
        else:
            model = model.__args__[0]
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None
