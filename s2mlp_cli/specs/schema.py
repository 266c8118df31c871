"""The JSON Schema of spec files, made from the same definition that validates them.

``python -m s2mlp_cli.specs.schema > model_specs/spec.schema.json`` renews the shipped file; editors
complete and check specs with it.
"""

from __future__ import annotations

import json
from typing import Any

from s2mlp_cli.specs.loading import FAMILIES

# Mappings that a derived file may give in part, since ``extends`` supplies the rest.
_MERGED = ("Norm", "Mixer")


# Image sizes, which a file may give as one number.
_SIZES = {"input_size", "native_size"}


def spec_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file: any family's keys, ``extends`` and ``set``."""
    families, definitions = [], {}
    for family in FAMILIES.values():
        schema = family.model_json_schema()
        definitions.update(schema.pop("$defs", {}))
        families.append(_as_file(schema))
    for name in _MERGED:
        definitions.get(name, {}).pop("required", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "s2mlp model spec",
        "anyOf": families,
        "$defs": definitions,
    }


def _as_file(schema: dict[str, Any]) -> dict[str, Any]:
    schema.pop("required", None)
    schema["properties"] |= {
        "extends": {"type": "string", "description": "A built-in name, or a path to a YAML file."},
        "set": {"type": "object", "description": "Dotted keys, such as stages.0.depth: 2."},
    }
    for name in _SIZES & schema["properties"].keys():
        schema["properties"][name] = _size_as_file(schema["properties"][name])
    return schema


def _size_as_file(size: dict[str, Any]) -> dict[str, Any]:
    """Let a file write one number for a square."""
    pixels = size["prefixItems"][0]
    pair = {"type": "array", "items": pixels, "minItems": 2, "maxItems": 2}
    return {"description": size["description"], "anyOf": [pixels, pair]}


if __name__ == "__main__":
    print(json.dumps(spec_schema(), indent=2))
