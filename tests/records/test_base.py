"""A changed copy is checked like a new record."""

import os

import pytest
from pydantic import ValidationError

from s2mlp_cli.records.base import Environment, changed
from s2mlp_cli.records.profile import Measured


def test_a_changed_copy_has_the_new_value_and_leaves_the_old_one_alone():
    old = Measured(value=1.0)
    assert changed(old, value=2.0) == Measured(value=2.0)
    assert old == Measured(value=1.0)


@pytest.mark.parametrize("fields", [{"vlaue": 2.0}, {"value": "fast"}])
def test_a_misspelt_key_and_a_wrong_value_are_refused(fields):
    with pytest.raises(ValidationError):
        changed(Measured(value=1.0), **fields)


def test_names_that_are_not_utf8_are_kept_as_text_wherever_they_stand():
    bad = os.fsdecode(b"\xe9t\xe9")
    record = Environment(
        s2mlp=bad, python="", platform="", cpu="", cpu_count=1, packages={bad: bad}, gpus=(bad,)
    )
    text = r"\xe9t\xe9"
    assert (record.s2mlp, record.packages, record.gpus) == (text, {text: text}, (text,))
    assert Environment.model_validate_json(record.model_dump_json()) == record
