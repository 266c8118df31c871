import pytest

from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.verify import Deviation, VerifyCase, VerifyRecord, VerifyResult

RIGHT = Deviation(wrong=0, elements=4, max_error=0.0)
WRONG = Deviation(wrong=1, elements=4, max_error=None)


def case(**fields):
    return VerifyCase(
        shape=(1, 2, 2, 1), splits=(("up",), ()), dtype="fp32", layout="contiguous", **fields
    )


def result(verdict, safe):
    return VerifyResult(
        implementation="mine",
        summary="",
        subject="shift",
        safe=safe,
        device="cpu",
        seed=0,
        verdict=verdict,
        checks=2,
        failed=1,
        wrong_forward=0.125,
        wrong_gradient=None,
        max_error=None,
        skipped={},
        wrong_by_direction={},
        cases=(case(forward=RIGHT), case(forward=WRONG)),
    )


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
    assert case(**fields).right is right


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
    assert result(verdict, safe).as_expected is expected


def test_a_record_comes_back_from_its_json():
    environment = Environment(
        s2mlp="0", python="3", platform="x", cpu="c", cpu_count=1, packages={}
    )
    record = VerifyRecord.new(
        command=("s2mlp", "verify"),
        environment=environment,
        results=(result("wrong", True), result("right", True)),
    )
    assert VerifyRecord.model_validate_json(record.to_json()) == record
    assert not record.as_expected
