import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling import checks, contenders
from s2mlp_cli.measure.profiling.checks import relative_error
from s2mlp_cli.measure.profiling.contenders import Contender, Preparation, Skipped
from s2mlp_cli.measure.profiling.workloads import Case
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.torch_shifts import shift_slice
from s2mlp_cli.shifts.types import MixerKernel, ShiftFunction
from tests.measure.fakes import Clock, FakeDevice


def prepare(spec, shift, level="op", device=None, **fields):
    stage = None if level == "model" else 0
    case = Case(spec, level, stage, "cpu", fields.pop("dtype", "fp32"), 2, **fields)
    return Preparation(case, device or FakeDevice(Clock())).prepare(shift)


@pytest.fixture
def stand_in(monkeypatch):
    """Put an implementation made by the test into the registry as `conv`."""

    def put(implementation):
        known = registry.get
        monkeypatch.setattr(
            registry, "get", lambda name: implementation if name == "conv" else known(name)
        )

    return put


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("level", ["op", "block", "model"])
def test_a_right_implementation_is_ready_and_a_wrong_one_is_never_timed(tiny, level, mode):
    device = FakeDevice(Clock())
    ready = prepare(tiny, "roll", level, device, mode=mode)
    assert isinstance(ready, Contender)
    assert ready.error <= 1e-4
    timed = len(device.cold)
    assert timed > 0
    wrong = prepare(tiny, "inplace", level, device, mode=mode)
    assert isinstance(wrong, Skipped)
    assert wrong.reason.startswith("wrong ")
    assert wrong.error > 0.01
    assert len(device.cold) == timed


def test_a_wrong_gradient_is_found_where_it_is_used(tiny, stand_in):
    def one_way(x, directions):
        moved = shift_slice(x, directions)
        return moved.detach() + (x - x.detach())

    stand_in(ShiftFunction("conv", "", one_way))
    assert isinstance(prepare(tiny, "conv"), Contender)
    wrong = prepare(tiny, "conv", mode="training")
    assert wrong.reason.startswith("wrong gradient of the input: off the definition by ")


def mix(x, mixer):
    """The mixer as the definition has it, for kernels that go wrong in one place."""
    maps = mixer.shift(mixer.activation(mixer.expand(x)))
    return mixer.project(mixer._fuse(maps))


@pytest.mark.parametrize("level", ["block", "model"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_kernel_that_loses_the_gradient_of_a_weight_is_never_timed(tiny, stand_in, level, dtype):
    """Its values and the gradient of its input are right, but its weights learn nothing."""

    def mix_without(x, mixer):
        still = copy.deepcopy(mixer)
        still.kernel = None
        still.requires_grad_(False)
        live = mix(x, mixer)
        return still(x) + (live - live.detach()) * 0

    stand_in(MixerKernel("conv", "", mix))
    assert isinstance(prepare(tiny, "conv", level, mode="training", dtype=dtype), Contender)
    stand_in(MixerKernel("conv", "", mix_without))
    assert isinstance(prepare(tiny, "conv", level, dtype=dtype), Contender)
    device = FakeDevice(Clock())
    wrong = prepare(tiny, "conv", level, device, mode="training", dtype=dtype)
    assert wrong.reason.startswith("wrong gradient of the weight ")
    assert "mixer." in wrong.reason
    assert wrong.error == pytest.approx(1)
    assert device.cold == []


def test_what_half_precision_rounds_away_in_a_deep_model_is_allowed_for(tiny):
    """As much more as the definition itself is off float32, up to a bound; a part rounds little."""
    whole = Case(tiny, "model", None, "cpu", "bf16", 2)
    rounding = checks.own_rounding(whole)
    assert 0 < rounding < 0.1
    assert checks.own_rounding(dataclasses.replace(whole, level="block", stage=0)) == 0
    assert checks.own_rounding(dataclasses.replace(whole, dtype="fp32")) == 0

    checker = checks.Checker(whole)
    allowed = []
    for checker._rounding in (0.0, 0.2, 0.5):
        allowed.append(checker._allowed(whole, "values"))
    assert allowed == pytest.approx([0.1, 0.6, checks.MOST_ALLOWED])


def test_the_gradients_of_a_model_in_half_are_those_of_its_blocks(tiny):
    whole = Case(tiny, "model", None, "cpu", "bf16", 2, mode="training")
    assert [(part.level, part.stage, part.mode) for part in checks.compared(whole)] == [
        ("model", None, "inference"),
        ("block", 0, "training"),
        ("block", 1, "training"),
    ]
    exact = dataclasses.replace(whole, dtype="fp32")
    assert checks.compared(exact) == (exact,)


def test_a_weight_that_does_not_take_part_at_all_is_a_wrong_gradient_and_no_crash(tiny, stand_in):
    def mix_detached(x, mixer):
        project = mixer.project
        maps = mixer.shift(mixer.activation(mixer.expand(x)))
        return F.linear(mixer._fuse(maps), project.weight, project.bias.detach())

    stand_in(MixerKernel("conv", "", mix_detached))
    wrong = prepare(tiny, "conv", "block", mode="training")
    assert wrong.reason.startswith("wrong gradient of the weight mixer.project.bias: off")


def test_none_is_a_reference_that_is_not_checked(tiny):
    bare = prepare(tiny, "none", "block")
    assert bare.reference == contenders.BARE
    assert bare.error is None
    assert prepare(tiny, "none", "op").reason == "nothing to time: it returns its input"


def test_a_mixer_kernel_takes_part_where_there_is_a_mixer(tiny, stand_in):
    stand_in(MixerKernel("conv", "", mix, trains=False))
    assert "see the levels block and model" in prepare(tiny, "conv", "op").reason
    assert isinstance(prepare(tiny, "conv", "block"), Contender)
    assert prepare(tiny, "conv", "block", mode="training").reason == (
        "has no gradient: inference only"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), "out of memory at batch 2"),
        (RuntimeError("\"im2col\" not implemented for 'Half'"), 'fp32 on cpu: "im2col" not imp'),
        (NotImplementedError("no such kernel"), "fp32 on cpu: no such kernel"),
        (UnavailableError("it needs torch 2.15"), "it needs torch 2.15"),
    ],
)
def test_memory_and_missing_operations_are_reasons_to_skip(tiny, stand_in, error, reason):
    def run(x, directions):
        raise error

    stand_in(ShiftFunction("conv", "", run))
    assert prepare(tiny, "conv").reason.startswith(reason)


def test_what_cannot_be_captured_says_why(tiny, stand_in):
    def run(x, directions):
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    stand_in(ShiftFunction("conv", "", run))
    assert prepare(tiny, "conv", cuda_graph=True).reason == (
        "cannot be captured as a CUDA graph: operation not permitted when stream is capturing"
    )
    with pytest.raises(RuntimeError, match="capturing"):
        prepare(tiny, "conv")


def test_what_cannot_be_compiled_says_why(tiny, stand_in):
    class UnsupportedError(RuntimeError):
        __module__ = "torch._dynamo.exc"

    def run(x, directions):
        raise UnsupportedError("call_function args\nmany more lines")

    stand_in(ShiftFunction("conv", "", run))
    assert prepare(tiny, "conv").reason == "torch.compile: call_function args"


def test_any_other_fault_is_raised(tiny, stand_in):
    def run(x, directions):
        raise RuntimeError("index out of bounds")

    stand_in(ShiftFunction("conv", "", run))
    with pytest.raises(RuntimeError, match="index out of bounds"):
        prepare(tiny, "conv")


def test_what_cannot_run_on_the_device_says_why(tiny, stand_in):
    stand_in(
        ShiftFunction("conv", "", shift_slice, unavailable=lambda device: f"not on {device.type}")
    )
    assert prepare(tiny, "conv") == Skipped("not on cpu")


def test_short_calls_are_repeated_until_the_clock_can_tell(tiny):
    assert prepare(tiny, "slice", device=FakeDevice(Clock(), lambda run: 1e-5)).calls == 100
    assert prepare(tiny, "slice", device=FakeDevice(Clock(), lambda run: 0.5)).calls == 1
    assert prepare(tiny, "slice", device=FakeDevice(Clock(), lambda run: 0.0)).calls == 1000


def test_slow_calls_warm_up_once(tiny):
    slow, quick = FakeDevice(Clock(), lambda run: 5.0), FakeDevice(Clock(), lambda run: 0.1)
    prepare(tiny, "slice", device=slow)
    prepare(tiny, "slice", device=quick)
    assert (len(slow.cold), len(quick.cold)) == (2, 4)


def test_a_device_that_counts_tells_weights_from_activations(tiny):
    device = FakeDevice(Clock(), kind="counting")
    preparation = Preparation(Case(tiny, "block", 0, "cpu", "fp32", 2), device)
    first, memory = (preparation.prepare(shift).memory for shift in ("slice", "roll"))
    assert first == memory  # whichever of them drew the input that both read
    assert memory.weights_bytes > 0
    assert memory.activations_bytes == 300
    height, width = tiny.maps()[0]
    of_input = 2 * height * width * tiny.stages[0].dim * 4
    assert memory.peak_allocated_bytes == 300 + of_input
    assert memory.peak_reserved_bytes == 512 + of_input


def test_graphs_are_captured_when_asked(tiny):
    device = FakeDevice(Clock())
    prepare(tiny, "slice", device=device, cuda_graph=True)
    assert device.graphs == 1


def test_errors_are_relative_and_never_not_a_number():
    ones = torch.ones(3)
    assert relative_error(ones * 4, ones * 5) == pytest.approx(0.2)
    assert relative_error(ones * float("nan"), ones) == float("inf")
    assert relative_error(torch.ones(2), ones) == float("inf")
    assert relative_error(torch.zeros(3), torch.zeros(3)) == 0


def test_a_spec_that_shifts_nothing_has_no_operation(tiny):
    mixer = tiny.mixer.model_copy(update={"splits": ((), (), ())})
    still = tiny.model_copy(update={"mixer": mixer})
    assert prepare(still, "slice").reason == "the spec shifts nothing"
    assert dataclasses.is_dataclass(prepare(still, "slice", "block"))
