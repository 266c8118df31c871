import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.exc import FailOnRecompileLimitHit

from s2mlp_cli.errors import UnavailableError, UserCodeError
from s2mlp_cli.measure.profiling import checks, contenders
from s2mlp_cli.measure.profiling.checks import relative_error
from s2mlp_cli.measure.profiling.compiling import Compiling, fresh_compiler
from s2mlp_cli.measure.profiling.contenders import Contender, Preparation
from s2mlp_cli.measure.profiling.deployed import DeployedFiles
from s2mlp_cli.measure.profiling.rows import blank_row
from s2mlp_cli.measure.profiling.workloads import Candidate, ModelCase
from s2mlp_cli.measure.source import module_model
from s2mlp_cli.records.profile import ProfileResult
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.torch_shifts import shift_slice
from s2mlp_cli.shifts.types import MixerKernel, ShiftFunction
from s2mlp_cli.specs import load_spec
from tests.measure.fakes import Clock, FakeDevice
from tests.tiny import case as make_case


def prepare(spec, shift, level="op", device=None, compiling=None, **fields):
    """Return what is ready to be timed, or the row that says why it is not."""
    case = make_case(spec, level, batch_size=2, **fields)
    made = Preparation(
        case, device or FakeDevice(Clock()), DeployedFiles(case), compiling or Compiling()
    )
    return made.prepare(Candidate(shift), blank_row(case, Candidate(shift), 1))


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
    assert ready.row.error <= 1e-4
    timed = len(device.cold)
    assert timed > 0
    wrong = prepare(tiny, "inplace", level, device, mode=mode)
    assert isinstance(wrong, ProfileResult)
    assert wrong.skipped.startswith("wrong ")
    assert wrong.error > 0.01
    assert len(device.cold) == timed


def test_a_wrong_gradient_is_found_where_it_is_used(tiny, stand_in):
    def one_way(x, directions):
        moved = shift_slice(x, directions)
        return moved.detach() + (x - x.detach())

    stand_in(ShiftFunction("conv", "", one_way))
    assert isinstance(prepare(tiny, "conv"), Contender)
    wrong = prepare(tiny, "conv", mode="training")
    assert wrong.skipped.startswith("wrong gradient of the input: off the reference by ")


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
    assert wrong.skipped.startswith("wrong gradient of the weight ")
    assert "mixer." in wrong.skipped
    assert wrong.error == pytest.approx(1)
    assert device.cold == []


def exchanged(x, directions):
    """The shift with the first group of channels moved as the second is."""
    return shift_slice(x, (directions[1], *directions[1:])) if directions else x


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("level", ["op", "block", "model"])
def test_one_group_in_the_wrong_direction_is_refused_at_every_level_and_dtype(
    tiny, stand_in, level, dtype, mode
):
    stand_in(ShiftFunction("conv", "", shift_slice))
    assert isinstance(prepare(tiny, "conv", level, dtype=dtype, mode=mode), Contender)
    stand_in(ShiftFunction("conv", "", exchanged))
    wrong = prepare(tiny, "conv", level, dtype=dtype, mode=mode)
    assert isinstance(wrong, ProfileResult)
    assert wrong.skipped.startswith("wrong ")


def test_one_group_in_the_wrong_direction_is_refused_by_a_real_compiler_too(tiny, stand_in):
    small = tiny.model_copy(update={"stages": tiny.stages[:1]})
    made = {}
    with fresh_compiler() as compiling:
        for shift in (shift_slice, exchanged):
            stand_in(ShiftFunction("conv", "", shift))
            made[shift] = prepare(small, "conv", "model", compiling=compiling, compile="block")
    right, wrong = made.values()
    if isinstance(right, ProfileResult) and right.skipped.startswith("torch.compile: "):
        pytest.skip(right.skipped)
    assert right.row.error < 1e-5
    assert right.row.compile_s > 0
    assert wrong.skipped.startswith("wrong values: off the reference by ")
    assert wrong.error > 0.01


@pytest.mark.parametrize("name", ["v1-wide", "v2-small", "v2-medium"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_wrong_group_is_far_over_what_a_real_block_may_be_off(name, dtype, stand_in):
    """Twice and more, where a right implementation stays under half."""
    spec = load_spec(name)
    stand_in(ShiftFunction("conv", "", exchanged))
    part = checks._Part(make_case(spec, "block", len(spec.stages) - 1, dtype=dtype))
    for shift, least, most in (("conv", 2, 1e9), ("fused", 0, 0.5), ("gather", 0, 0.5)):
        ((error, allowed, _),) = part.differences(checks.build_workload(part.case, shift))
        assert least <= error / allowed <= most


def test_what_may_be_off_is_a_multiple_of_what_rounding_takes_the_reference_off(tiny):
    part = checks._Part(make_case(tiny, dtype="bf16", batch_size=2))
    assert 0 < part._rounding["values"] < 0.1
    allowed = []
    for part._rounding["values"] in (0.0, 0.02, 5.0):
        allowed.append(part.allowed("values"))
    least, most = checks.MODEL_BOUNDS["bf16"]
    assert allowed == pytest.approx([least, checks.MULTIPLE * 0.02, most])


def test_the_reference_in_float64_is_the_same_a_few_images_at_a_time_or_all_at_once(
    tiny, monkeypatch
):
    case = make_case(tiny, batch_size=7, mode="training")
    pieces = checks._in_float64(checks.build_workload(case, "oracle"), "training")
    monkeypatch.setattr(checks, "_IMAGES", 100)
    whole = checks._in_float64(checks.build_workload(case, "oracle"), "training")
    assert pieces.keys() == whole.keys()
    for what, tensor in whole.items():
        assert relative_error(pieces[what], tensor) < 1e-9


def test_a_model_is_compared_with_a_block_of_each_stage_its_gradients_only_where_they_tell(tiny):
    half = make_case(tiny, batch_size=2, mode="training", dtype="bf16")
    assert [(part.level, part.stage, part.mode) for part in checks.compared(half)] == [
        ("model", None, "inference"),
        ("block", 0, "training"),
        ("block", 1, "training"),
    ]
    exact = dataclasses.replace(half, dtype="fp32")
    assert [part.mode for part in checks.compared(exact)] == ["training"] * 3
    compiled = dataclasses.replace(exact, compile="model")
    assert [part.compile for part in checks.compared(compiled)] == ["model", None, None]


def test_a_weight_that_does_not_take_part_at_all_is_a_wrong_gradient_and_no_crash(tiny, stand_in):
    def mix_detached(x, mixer):
        project = mixer.project
        maps = mixer.shift(mixer.activation(mixer.expand(x)))
        return F.linear(mixer._fuse(maps), project.weight, project.bias.detach())

    stand_in(MixerKernel("conv", "", mix_detached))
    wrong = prepare(tiny, "conv", "block", mode="training")
    assert wrong.skipped.startswith("wrong gradient of the weight mixer.project.bias: off")


@pytest.mark.parametrize("shift", ["none", "products"])
def test_the_floors_are_timed_and_not_checked(tiny, shift):
    bare = prepare(tiny, shift, "block")
    assert bare.row.reference == contenders.BARE[shift]
    assert bare.row.error is None


def test_none_by_itself_is_nothing_to_time(tiny):
    assert prepare(tiny, "none", "op").skipped == "nothing to time: it returns its input"


def test_a_row_says_which_form_of_an_implementation_runs(tiny):
    assert blank_row(make_case(tiny, "block"), Candidate("fused"), 1).form == "slices"
    assert blank_row(make_case(tiny, "block"), Candidate("slice"), 1).form is None


def test_a_mixer_kernel_takes_part_where_there_is_a_mixer(tiny, stand_in):
    stand_in(MixerKernel("conv", "", mix, trains=False))
    assert "see the levels block and model" in prepare(tiny, "conv", "op").skipped
    assert isinstance(prepare(tiny, "conv", "block"), Contender)
    assert prepare(tiny, "conv", "block", mode="training").skipped == (
        "has no gradient: inference only"
    )


def of_triton(name):
    """Return an error as Triton's are: no RuntimeError, and of one of its modules."""
    return type(name, (Exception,), {"__module__": "triton.runtime.errors"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), "out of memory at batch 2"),
        (RuntimeError("\"im2col\" not implemented for 'Half'"), 'fp32 on cpu: "im2col" not imp'),
        (NotImplementedError("no such kernel"), "fp32 on cpu: no such kernel"),
        (UnavailableError("it needs torch 2.15"), "it needs torch 2.15"),
        (UserCodeError("mine.py:shift fails: no"), "mine.py:shift fails: no"),
        (of_triton("OutOfResources")("out of resource: shared memory"), "Triton: out of resource"),
        (of_triton("CompilationError")("at 1:4:\nmore"), "Triton: at 1:4:"),
    ],
)
def test_memory_and_missing_operations_are_reasons_to_skip(tiny, stand_in, error, reason):
    def run(x, directions):
        raise error

    stand_in(ShiftFunction("conv", "", run))
    assert prepare(tiny, "conv").skipped.startswith(reason)


def test_what_cannot_be_captured_says_why(tiny, stand_in):
    def run(x, directions):
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    stand_in(ShiftFunction("conv", "", run))
    assert prepare(tiny, "conv", cuda_graph=True).skipped == (
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
    assert prepare(tiny, "conv").skipped == "torch.compile: call_function args"


def test_any_other_fault_is_raised(tiny, stand_in):
    def run(x, directions):
        raise RuntimeError("index out of bounds")

    stand_in(ShiftFunction("conv", "", run))
    with pytest.raises(RuntimeError, match="index out of bounds"):
        prepare(tiny, "conv")


def test_what_fails_in_a_model_of_somebody_else_is_the_reason_to_skip_it():
    class Broken(torch.nn.Module):
        def forward(self, images):
            raise KeyError("nope")

    case = ModelCase(model=module_model(Broken(), (8, 8)))
    preparation = Preparation(case, FakeDevice(Clock()), DeployedFiles(case))
    made = preparation.prepare(Candidate(None), blank_row(case, Candidate(None), 1))
    assert made.skipped.startswith("its forward pass fails: KeyError: 'nope'")


def test_what_cannot_run_on_the_device_says_why(tiny, stand_in):
    stand_in(
        ShiftFunction("conv", "", shift_slice, unavailable=lambda device: f"not on {device.type}")
    )
    assert prepare(tiny, "conv").skipped == "not on cpu"


@pytest.mark.parametrize("shift", ["triton", "fused-triton", "fused-project"])
def test_the_times_of_an_interpreted_kernel_mean_nothing(tiny, shift, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "only checks values" in prepare(tiny, shift, "block").skipped


def test_short_calls_are_repeated_until_the_clock_can_tell(tiny):
    assert (
        prepare(tiny, "slice", device=FakeDevice(Clock(), lambda run: 1e-5)).row.calls_per_sample
        == 100
    )
    assert (
        prepare(tiny, "slice", device=FakeDevice(Clock(), lambda run: 0.5)).row.calls_per_sample
        == 1
    )
    assert (
        prepare(tiny, "slice", device=FakeDevice(Clock(), lambda run: 0.0)).row.calls_per_sample
        == 1000
    )


def test_slow_calls_warm_up_once(tiny):
    slow, quick = FakeDevice(Clock(), lambda run: 5.0), FakeDevice(Clock(), lambda run: 0.1)
    prepare(tiny, "slice", device=slow)
    prepare(tiny, "slice", device=quick)
    assert (len(slow.cold), len(quick.cold)) == (2, 4)


def test_a_device_that_counts_tells_weights_from_activations(tiny):
    device = FakeDevice(Clock(), kind="counting")
    case = make_case(tiny, "block", batch_size=2)
    preparation = Preparation(case, device, DeployedFiles(case))
    first, memory = (
        preparation.prepare(each, blank_row(case, each, 1)).row.memory
        for each in (Candidate("slice"), Candidate("roll"))
    )
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
    assert prepare(still, "slice").skipped == "the spec shifts nothing"
    assert isinstance(prepare(still, "slice", "block"), Contender)


def compiled(function, seen):
    """Return ``function`` through Dynamo alone, noting the shapes that it compiles for."""

    def backend(graph, inputs):
        seen.append([tuple(x.shape) for x in inputs])
        return graph.forward

    return torch.compile(function, backend=backend)


def adding(number):
    return lambda x: x + number


def test_more_versions_of_one_function_than_dynamo_keeps_by_itself_are_all_compiled():
    seen = []
    with fresh_compiler():
        for number in range(12):
            assert compiled(adding(number), seen)(torch.ones(3)).tolist() == [1 + number] * 3
    assert len(seen) == 12


def test_another_size_is_compiled_as_if_it_were_the_first():
    seen = []
    with fresh_compiler():
        for size in (3, 4, 5):
            compiled(adding(1), seen)(torch.ones(size))
    assert seen == [[(3,)], [(4,)], [(5,)]]


def test_a_limit_that_is_hit_is_an_error_and_not_an_uncompiled_run(monkeypatch):
    monkeypatch.setattr("s2mlp_cli.measure.profiling.compiling._MOST_VERSIONS", 2)
    with fresh_compiler():
        for number in range(2):
            compiled(adding(number), [])(torch.ones(3))
        one_too_many = compiled(adding(2), [])
        with pytest.raises(FailOnRecompileLimitHit):
            one_too_many(torch.ones(3))


class Compiler:
    """Compiles in the first calls that a device times."""

    def __init__(self, calls):
        self.compiling = Compiling(clock=lambda: 0.0)
        self.left = calls

    def __call__(self, run):
        if self.left:
            self.left -= 1
            self.compiling.start()
            self.compiling.seconds += 2.0
            self.compiling.end()
        return 0.1


@pytest.mark.parametrize(("calls", "timed"), [(0, 4), (1, 4), (5, 7)])
def test_warming_up_goes_on_until_nothing_compiles_any_more(tiny, calls, timed, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, mode: module)
    compiler = Compiler(calls)
    device = FakeDevice(Clock(), compiler)
    ready = prepare(tiny, "slice", "block", device, compiler.compiling, compile="block")
    assert len(device.cold) == timed
    assert ready.row.compile_s == pytest.approx(2.0 * calls)


def test_what_compiles_anew_in_every_call_is_not_timed(tiny, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, mode: module)
    compiler = Compiler(1000)
    device = FakeDevice(Clock(), compiler)
    made = prepare(tiny, "slice", "block", device, compiler.compiling, compile="block")
    assert made.skipped == "torch.compile: compiles anew in 12 calls"


def test_compiling_is_counted_and_timed():
    with fresh_compiler() as compiling:
        function = compiled(adding(1), [])
        for size in (3, 3, 4):
            function(torch.ones(size))
        assert compiling.count == 2
        assert compiling.seconds > 0
    compiled(lambda x: x * 2, [])(torch.ones(()))
    assert compiling.count == 2
