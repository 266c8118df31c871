import pytest

from s2mlp_cli.records.verify import Deviation
from tests.views.test_verify import case, result

RIGHT = Deviation(wrong=0, elements=4, max_error=0.0)
WRONG = Deviation(wrong=1, elements=4, max_error=None)


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"forward": RIGHT, "gradient": RIGHT}, True),
        ({"forward": RIGHT}, True),
        ({"forward": WRONG, "gradient": RIGHT}, False),
        ({"forward": RIGHT, "gradient": WRONG}, False),
        ({"forward": RIGHT, "fault": "wrote to its input"}, False),
        ({"fault": "raised"}, False),
    ],
)
def test_a_case_is_right_when_nothing_is_wrong(fields, right):
    assert case(**{"forward": None, "gradient": None, **fields}).right is right


@pytest.mark.parametrize(
    ("verdict", "safe", "expected"),
    [
        ("right", True, True),
        ("wrong", True, False),
        ("cannot run", True, True),
        ("right", False, False),
        ("wrong as known", False, True),
        ("cannot run", False, True),
    ],
)
def test_what_is_as_expected(verdict, safe, expected):
    assert result("mine", verdict, safe=safe).as_expected is expected
