"""The JSON Schema of the records of one kind: ``python -m s2mlp_cli.records.schema profile``."""

from __future__ import annotations

import json
import sys
from typing import Any

from s2mlp_cli.records.reading import KINDS, imported


def record_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a file that ``-o FILE.json`` writes, from what reads it back."""
    record = imported(KINDS[kind].record)
    schema: dict[str, Any] = record.model_json_schema(by_alias=True)
    schema["properties"]["schema"] = {"const": record.schema_name()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    if sys.argv[1:] not in [[kind] for kind in KINDS]:
        sys.exit(f"error: name one kind of record: {', '.join(KINDS)}")
    print(json.dumps(record_schema(sys.argv[1]), indent=2))
