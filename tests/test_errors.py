"""Names as text, whatever bytes they are made of."""

import os

import pytest

from s2mlp_cli.errors import S2MLPError, did_you_mean, printable
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


MODELS = ("pvtv2-b4", "v1-deep", "v2-medium", "v2-small-14", "v2-small")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("v2", "; did you mean 'v2-small', 'v2-medium' or 'v2-small-14'?"),
        ("V2-Smal", "; did you mean 'v2-small' or 'v2-small-14'?"),
        ("deep", "; did you mean 'v1-deep'?"),
        ("v1-depe", "; did you mean 'v1-deep'?"),
        ("", ""),
        ("zzz", ""),
    ],
)
def test_names_that_begin_alike_are_suggested_before_those_that_look_alike(name, found):
    assert did_you_mean(name, MODELS) == found


def test_of_many_names_eight_are_suggested():
    many = [f"v{number}" for number in range(30)]
    assert did_you_mean("v", many).endswith(", 'v7' or 22 more?")
