"""The JSON Schema of every kind describes what is written, by 0.1.0 too."""

import json
from pathlib import Path

import jsonschema
import pytest

from s2mlp_cli.records.reading import KINDS
from s2mlp_cli.records.schema import record_schema
from tests import samples

OLD = Path(__file__).parent / "written_by_0_1_0"


@pytest.mark.parametrize("kind", samples.ALL)
def test_a_record_is_as_its_schema_says(kind):
    schema = record_schema(kind)
    written = json.loads(samples.ALL[kind]().to_json())
    jsonschema.validate(written, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**written, "schema": "s2mlp.other/1"}, schema)


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")), ids=lambda path: path.stem)
def test_a_record_of_0_1_0_is_too(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    kind = document["schema"].partition(".")[2].partition("/")[0]
    assert kind in KINDS
    jsonschema.validate(document, record_schema(kind))
