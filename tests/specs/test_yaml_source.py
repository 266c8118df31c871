"""What text of a YAML file or of --set is a number, and what stays text."""

import pytest

from s2mlp_cli.errors import SpecError
from s2mlp_cli.specs.yaml_source import MAX_BYTES, MAX_DEPTH, Origin, parse_value, read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("1e-5", 1e-5),
        ("2E6", 2e6),
        ("1.5", 1.5),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("-.inf", float("-inf")),
        ("true", True),
        ("null", None),
        ("[1, b]", [1, "b"]),
        ("0100", "0100"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_numbers_are_those_of_yaml_1_2(text, value):
    found = parse_value(text, "--set")
    assert (found, type(found)) == (value, type(value))


def test_each_key_has_the_line_it_stands_on(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("a: 1\n\nb:\n  - {c: 2}\n  -\n    d: 3\n", encoding="utf-8")
    document = read_document(path)
    lines = {key: origin.line for key, origin in document.origins.items()}
    assert lines == {
        (): 1, ("a",): 1, ("b",): 3, ("b", 0): 4, ("b", 0, "c"): 4, ("b", 1): 6, ("b", 1, "d"): 6,
    }  # fmt: skip
    assert document.origin(("b", 0, "nothing", 1)) == Origin(str(path), 4)  # the nearest around it


def test_a_file_may_be_as_large_and_as_deep_as_is_said(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text("a: 1\n".ljust(MAX_BYTES, "#"), encoding="utf-8")
    assert read_document(path).data == {"a": 1}
    inner = MAX_DEPTH - 1  # below the mapping of the file itself
    path.write_text(f"a: {'[' * inner}{']' * inner}", encoding="utf-8")
    assert len(read_document(path).origins) == MAX_DEPTH
    path.write_text(f"a: {'[' * MAX_DEPTH}{']' * MAX_DEPTH}", encoding="utf-8")
    with pytest.raises(SpecError, match="more than 10 levels of nesting"):
        read_document(path)
