"""Names as text, whatever bytes they are made of."""

import os

import pytest

from s2mlp_cli.errors import S2MLPError, printable
from s2mlp_cli.files import write_atomically

NAMES = [
    ("plain/é-日本-𝄞.png", "plain/é-日本-𝄞.png"),
    (os.fsdecode(b"\xe9t\xe9/\xc3\xa9.png"), "\\xe9t\\xe9/é.png"),
    ("half \ud800", "half \\ud800"),
    ("back\\slash and\nline", "back\\slash and\nline"),
]


@pytest.mark.parametrize(("name", "text"), NAMES)
def test_a_name_becomes_text_that_can_be_written(name, text, tmp_path):
    assert printable(name) == text
    text.encode()
    write_atomically(tmp_path / "out", name)
    assert (tmp_path / "out").read_bytes() == text.encode()


def test_an_error_names_the_bytes_of_a_name():
    assert str(S2MLPError(f"cannot read {os.fsdecode(b'caf' + bytes([0xE9]))}")).endswith(
        r"caf\xe9"
    )
