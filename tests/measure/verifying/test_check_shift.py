import math

import pytest
import torch

from s2mlp_cli.measure.verifying.cases import EIGHT, V1, CheckInput
from s2mlp_cli.measure.verifying.checks import check_shift, shift_by_loops, wrong_by_direction
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.torch_shifts import shift_oracle
from s2mlp_cli.shifts.types import ShiftFunction

CPU = torch.device("cpu")
GIVEN = CheckInput((2, 5, 4, 16), (V1, EIGHT, ()), "fp32", "channels-first")


def check(run, given=GIVEN):
    return check_shift(ShiftFunction("mine", "", run), given, CPU, seed=0)


class RoundedGradient(torch.autograd.Function):
    """The identity, whose gradient takes a detour through bfloat16."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.bfloat16().float()


@pytest.mark.parametrize("name", registry.parse("all"))
def test_safe_implementations_are_right(name):
    implementation = registry.get(name)
    if not isinstance(implementation, ShiftFunction) or implementation.unavailable(CPU):
        pytest.skip(f"{name} is no shift that runs here")
    case = check_shift(implementation, GIVEN, CPU, seed=0)
    assert case.right
    assert case.gradient.elements == 2 * 5 * 4 * 48
    assert case.forward.elements == 2 * case.gradient.elements  # in training and in inference


def test_loops_move_content_by_the_direction():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, :, :, None]
    assert shift_by_loops(x, ("right",))[0, :, :, 0].tolist() == [[1, 1], [3, 3]]
    assert shift_by_loops(x, ("up",))[0, :, :, 0].tolist() == [[3, 4], [3, 4]]
    assert shift_by_loops(x, ("down-left",))[0, :, :, 0].tolist() == [[2, 2], [2, 2]]
    assert torch.equal(shift_by_loops(x, ()), x)


def test_another_order_of_directions_is_wrong():
    case = check(lambda x, directions: shift_oracle(x, directions[::-1]))
    assert case.forward.wrong > 0
    assert case.gradient.wrong > 0


def test_a_detour_through_fewer_bits_is_wrong_forward():
    case = check(lambda x, directions: shift_oracle(x.bfloat16(), directions).float())
    assert case.forward.wrong > 0.9 * case.forward.elements


def test_a_rounded_gradient_is_wrong_though_the_values_are_right():
    case = check(lambda x, directions: shift_oracle(RoundedGradient.apply(x), directions))
    assert case.forward.wrong == 0
    # The rest belongs to pixels that moved out of the map: nothing reads them, exactly 0.
    assert case.gradient.wrong > 0.75 * case.gradient.elements


def test_unwritten_elements_are_wrong():
    def leaves_a_row(x, directions):
        out = shift_oracle(x, directions)
        return torch.cat([out[:, :-1], torch.full_like(out[:, -1:], math.nan)], dim=1)

    case = check(leaves_a_row)
    assert case.forward.wrong == case.forward.elements / 5
    assert case.forward.max_error is None


def test_writing_to_the_input_is_a_fault():
    def writes(x, directions):
        out = shift_oracle(x, directions)
        x.data.zero_()
        return out

    assert check(writes).fault == "wrote to its input"


def test_another_dtype_is_a_fault():
    given = CheckInput((1, 2, 2, 8), (V1,), "fp32", "contiguous")
    case = check(lambda x, directions: shift_oracle(x, directions).double(), given)
    assert case.fault == "returned torch.float64 of (1, 2, 2, 8) for (1, 2, 2, 8)"
    assert not case.right


def test_inplace_smears_the_two_forward_groups():
    """Each keeps its first row or column and copies it over the other 13: 12 of 14 are wrong."""
    wrong = wrong_by_direction(registry.get("inplace"), V1, CPU, seed=0)
    assert wrong == {
        "right": pytest.approx(12 / 14),
        "left": 0.0,
        "down": pytest.approx(12 / 14),
        "up": 0.0,
    }
