import pytest

from s2mlp_cli.specs import load_spec
from s2mlp_cli.views.catalogue import catalogue
from s2mlp_cli.views.terminal import to_text


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("gmlp-s",), "1 built-in spec with 's' in its name"),
        (("v2-small", "gmlp-s"), "2 built-in specs with 's' in their names"),
    ],
)
def test_a_line_counts_what_is_listed(names: tuple[str, ...], line: str) -> None:
    shown = to_text(catalogue([load_spec(name) for name in names], "s"))
    assert shown.splitlines()[0] == line
