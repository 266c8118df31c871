import pytest
import torch

from s2mlp_cli.directions import OFFSETS, groups
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.verifying.cases import EIGHT, V1
from s2mlp_cli.measure.verifying.verify import verify, verify_one
from s2mlp_cli.shifts.fused import mix_fused
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.shifts.types import MixerKernel, ShiftFunction

CPU = torch.device("cpu")


def run(function, dtypes=("fp32",), **flags):
    return verify_one(ShiftFunction("mine", "", function, **flags), CPU, dtypes, seed=0)


def test_a_right_implementation():
    (result,) = verify(["slice"], CPU, ["fp32"])
    assert (result.verdict, result.failed, result.wrong_forward) == ("right", 0, 0.0)
    assert result.as_expected
    assert result.checks == len(result.cases) == 59
    assert result.wrong_by_direction == {}


def test_a_device_may_be_a_name():
    assert verify(["roll"], "cpu", ["fp32"]) == verify(["roll"], CPU, ["fp32"])


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


def identity_unless_trained(x, directions):
    return shift_oracle(x, directions) if x.requires_grad else x.clone()


def index_of_16_bits(x, directions):
    """Reads beyond 2^16 elements of an image wrap around, as a narrow index makes them."""
    moved = shift_oracle(x, directions)
    flat = moved.flatten(1)
    wrapped = torch.arange(flat.shape[1], device=x.device) % 2**16
    return flat[:, wrapped].reshape(moved.shape)


def second_block_misplaced(x, directions):
    """The rows from the 32nd on are those of another block."""
    moved = shift_oracle(x, directions)
    return torch.cat([moved[:, :32], moved[:, : max(x.shape[1] - 32, 0)]], dim=1)


def one_direction_alone_wrong(name):
    def mutant(x, directions):
        return x.clone() if directions == (name,) else shift_oracle(x, directions)

    return mutant


def order_of_eight_assumed(x, directions):
    return shift_oracle(x, EIGHT if len(directions) == 8 else directions)


def repeated_directions_dropped(x, directions):
    """Looks groups up by name: of a direction given twice only the last group moves."""
    moved = shift_oracle(x, directions)
    named = zip(directions, groups(x.shape[-1], directions), strict=False)
    for index, (name, (group, _, _)) in enumerate(named, 1):
        if name in directions[index:]:
            moved = torch.cat(
                [moved[..., : group.start], x[..., group], moved[..., group.stop :]], -1
            )
    return moved


MUTANTS = {
    "identity unless trained": identity_unless_trained,
    "index of 16 bits": index_of_16_bits,
    "second block misplaced": second_block_misplaced,
    **{f"{name} alone": one_direction_alone_wrong(name) for name in OFFSETS},
    "order of eight assumed": order_of_eight_assumed,
    "repeated directions dropped": repeated_directions_dropped,
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_plausible_mutants_come_out_wrong(mutant):
    assert run(mutant, dtypes=("fp16",)).verdict == "wrong"


def test_a_mixer_kernel_that_is_right_only_in_training_is_wrong():
    def mutant(x, mixer):
        return mix_fused(x, mixer) if x.requires_grad else x.clone()

    result = verify_one(MixerKernel("mine", "", mutant), CPU, ["fp32"], seed=0)
    assert result.verdict == "wrong"
    assert result.wrong_gradient == 0


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
