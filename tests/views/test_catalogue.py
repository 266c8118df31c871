import pytest

from s2mlp_cli.specs import load_spec
from s2mlp_cli.views.catalogue import catalogue


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("gmlp-s",), "1 built-in spec with 's' in the name"),
        (("v2-small", "gmlp-s"), "2 built-in specs with 's' in the name"),
    ],
)
def test_a_line_counts_what_is_listed(names, line):
    assert catalogue([load_spec(name) for name in names], "s").answers[0] == line
