"""Read a saved record back: any file that ``-o FILE.json`` wrote, whatever its kind.

The schema name inside the file decides the class, so that callers need not know what they hold.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from s2mlp_cli.errors import RecordError, did_you_mean
from s2mlp_cli.records.base import Record


class Kind(NamedTuple):
    """One kind of record: its class as ``module:name``, and the module that shows it."""

    record: str
    view: str


# Everything that a new kind needs beside its record and its view is a line here. Both are
# imported only when a file of the kind is read or shown.
KINDS = {
    "count": Kind("s2mlp_cli.records.count:CountRecord", "s2mlp_cli.views.count"),
    "audit": Kind("s2mlp_cli.records.audit:AuditRecord", "s2mlp_cli.views.audit"),
    "verify": Kind("s2mlp_cli.records.verify:VerifyRecord", "s2mlp_cli.views.verify"),
    "profile": Kind("s2mlp_cli.records.profile:ProfileRecord", "s2mlp_cli.views.profile"),
    "trace": Kind("s2mlp_cli.records.trace:TraceRecord", "s2mlp_cli.views.trace"),
    "validate": Kind("s2mlp_cli.records.validate:ValidateRecord", "s2mlp_cli.views.validate"),
    "export": Kind("s2mlp_cli.records.export:ExportRecord", "s2mlp_cli.views.export"),
    "compare": Kind("s2mlp_cli.records.compare:CompareRecord", "s2mlp_cli.views.compare"),
}

_LARGEST = 10**300

# Levels of lists and objects in a record: four times what a spec inside one needs.
_DEEPEST = 40

_SCHEMA = re.compile(r"s2mlp\.([a-z]+)/([0-9]{1,6})")


def read_record(path: str | Path) -> Record:
    """Return the record that ``path`` holds.

    Raises:
        RecordError: the file is missing, cut off, another program's, of another version or
            damaged; the sentence names the file and what to do.
    """
    document = _document(path)
    kind = record_class(path, document.get("schema"))
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise RecordError(_explain(path, error)) from error


def record_class(path: str | Path, schema: object) -> type[Record]:
    """Return the class for a schema name as a file has it.

    Raises:
        RecordError: no schema of s2mlp, a kind that is not known, or another version of it.
    """
    match = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if match is None:
        said = "missing" if schema is None else _shown(schema)
        fault = f"its 'schema' is {said}, where 's2mlp.<kind>/<version>' is expected"
        raise RecordError(_not_a_record(path, fault))
    kind, version = match[1], int(match[2])
    if kind not in KINDS:
        raise RecordError(
            f"{path} holds a record of the kind '{kind}', which this s2mlp does not know"
            f"{did_you_mean(kind, KINDS)}; known are {', '.join(KINDS)}"
        )
    found: type[Record] = imported(KINDS[kind].record)
    if version != found.version:
        newer = version > found.version
        age, remedy = ("a newer", "upgrade s2mlp") if newer else ("an older", "measure it again")
        raise RecordError(
            f"{path} is a record of {age} version, s2mlp.{kind}/{version}, where this s2mlp reads "
            f"{found.schema_name()}; {remedy}"
        )
    return found


def imported(path: str) -> Any:
    """Return what ``module:name`` names."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def _document(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in the file, with every other content refused in a sentence."""
    text, fault = "", None
    try:
        raw = Path(path).read_bytes()
        text = raw.decode(json.detect_encoding(raw))  # PowerShell's > writes UTF-16
        document = json.loads(
            text, parse_int=_measured, parse_float=_measured, parse_constant=_measured
        )
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}; check the path") from error
    except json.JSONDecodeError as error:
        fault = _not_json(path, text, error)
    except UnicodeDecodeError:
        fault = "it is not text"
    except (RecursionError, ValueError) as error:  # nested too deep, or an absurd number
        fault = f"its JSON cannot be read ({error})"
    else:
        if not isinstance(document, dict):
            fault = f"it holds {_shown(document)}, where a JSON object is expected"
        elif _deeper_than(_DEEPEST, document):
            fault = f"its JSON is nested over {_DEEPEST} levels deep"
    if fault:
        raise RecordError(_not_a_record(path, fault))
    return dict(document)


def _not_a_record(path: str | Path, fault: str) -> str:
    return (
        f"{path} is not a record of s2mlp: {fault}; give a file that `s2mlp … -o FILE.json` wrote"
    )


def _measured(digits: str) -> int | float:
    """Return a number; none that was ever measured or counted is out of a float's range."""
    value = int(digits) if digits.lstrip("-").isdigit() else float(digits)
    if not abs(value) <= _LARGEST:  # so that NaN is refused as well
        raise ValueError(f"the number {_shown(digits)} is out of range")
    return value


def _deeper_than(levels: int, document: dict[str, Any]) -> bool:
    """Tell whether lists and objects are nested deeper, level by level: recursion has a limit."""
    layer: list[Any] = [document]
    for _ in range(levels + 1):
        inner = (each.values() if isinstance(each, dict) else each for each in layer)
        layer = [each for outer in inner for each in outer if isinstance(each, (dict, list))]
    return bool(layer)


def _not_json(path: str | Path, text: str, error: json.JSONDecodeError) -> str:
    """Return what is wrong with a text that never was JSON; raise where a part of a record is."""
    if not text.strip():
        fault = "is empty"
    elif not text.lstrip().startswith("{"):
        return f"line {error.lineno} is not JSON"
    elif error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        fault = f"is cut off: its JSON ends in line {text.count(chr(10)) + 1} before it is complete"
    else:
        where = f"line {error.lineno}, column {error.colno}"
        fault = f"is damaged: {where} is not JSON ({error.msg})"
    raise RecordError(f"{path} {fault}; run the command that makes it again") from error


def _explain(path: str | Path, error: ValidationError) -> str:
    """Name the first thing that does not fit: where it is, what was found, what is wrong."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the record"
    others = error.error_count() - 1
    more = f" (and {others} more)" if others else ""
    found = "" if first["type"] == "missing" else f", found {_shown(first['input'])}"
    return (
        f"{path} is damaged: at '{where}': {first['msg']}{found}{more}; run the command that "
        "makes it again"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
