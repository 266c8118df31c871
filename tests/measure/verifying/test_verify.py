import pytest
import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.verifying.cases import V1
from s2mlp_cli.measure.verifying.verify import verify, verify_one
from s2mlp_cli.shifts.oracle import shift_oracle
from s2mlp_cli.shifts.types import ShiftFunction

CPU = torch.device("cpu")


def run(function, dtypes=("fp32",), **flags):
    return verify_one(ShiftFunction("mine", "", function, **flags), CPU, dtypes, seed=0)


def test_a_right_implementation():
    (result,) = verify(["slice"], CPU, ["fp32"])
    assert (result.verdict, result.failed, result.wrong_forward) == ("right", 0, 0.0)
    assert result.as_expected
    assert result.checks == len(result.cases) == 56
    assert result.wrong_by_direction == {}


def test_inplace_is_wrong_as_known_with_its_fraction():
    (result,) = verify(["inplace"], CPU, ["fp32"])
    assert result.verdict == "wrong as known"
    assert result.as_expected
    assert 0.2 < result.wrong_forward < 0.5
    assert result.wrong_by_direction["right"] == pytest.approx(12 / 14)


def test_a_wrong_implementation_that_claims_to_be_safe_is_an_alarm():
    result = run(lambda x, directions: x.clone())
    assert result.verdict == "wrong"
    assert not result.as_expected
    assert set(result.wrong_by_direction) == set(V1)


def test_an_unsafe_implementation_that_is_right_is_an_alarm():
    result = run(shift_oracle, safe=False)
    assert result.verdict == "right"
    assert not result.as_expected


def test_an_unavailable_implementation_says_why():
    result = run(
        shift_oracle, dtypes=("fp32", "fp16"), unavailable=lambda device: "no such library"
    )
    assert result.verdict == "cannot run"
    assert result.as_expected
    assert result.skipped == {"fp32": "no such library", "fp16": "no such library"}
    assert result.wrong_forward is None


def test_a_dtype_that_an_operator_lacks_is_skipped_with_its_reason():
    def no_half(x, directions):
        if x.dtype == torch.float16:
            raise RuntimeError("operator(), /a/b.cpp:3, \"my_kernel\" not implemented for 'Half'")
        return shift_oracle(x, directions)

    result = run(no_half, dtypes=("fp32", "fp16"))
    assert result.verdict == "right"
    assert result.skipped == {"fp16": "\"my_kernel\" not implemented for 'Half'"}
    assert {case.dtype for case in result.cases} == {"fp32"}


def test_an_implementation_that_raises_on_some_maps_is_wrong_there():
    def fails_on_lines(x, directions):
        if x.shape[1] == 1:
            raise RuntimeError("needs two rows\nsecond line")
        return shift_oracle(x, directions)

    result = run(fails_on_lines)
    assert result.verdict == "wrong"
    faults = {case.shape[1]: case.fault for case in result.cases if case.fault}
    assert faults == {1: "raised RuntimeError: needs two rows"}


def test_progress_names_each_implementation_before_its_turn():
    seen = []
    verify(["slice", "gather"], CPU, ["bf16"], progress=seen.append)
    assert seen == ["slice", "gather"]


def test_an_unknown_name_is_refused():
    with pytest.raises(UnavailableError, match="did you mean 'slice'"):
        verify(["slic"], CPU)
