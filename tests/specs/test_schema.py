import json

import jsonschema
import pytest
import yaml

from s2mlp_cli.specs.loading import FOLDER
from s2mlp_cli.specs.schema import spec_schema

SCHEMA = json.loads((FOLDER / "spec.schema.json").read_text(encoding="utf-8"))


def test_the_shipped_schema_is_the_one_that_the_definition_makes():
    assert json.loads(json.dumps(spec_schema())) == SCHEMA


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_built_in_file_satisfies_the_schema(path):
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "extends: v2-small\nnorm: {kind: batch}",
        "extends: v2-small\nunknown: 1",
        "extends: v2-small\nstages: [{patch: 0, dim: 4, depth: 1, expansion: 1}]",
        "extends: v2-small\nmixer: {splits: [[sideways]]}",
        "input_size: [1, 2, 3]",
    ],
)
def test_the_schema_refuses_what_loading_refuses(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), SCHEMA)
