import pytest
import torch

from s2mlp_cli.errors import RecordError, SpecError, UnavailableError
from s2mlp_cli.measure.profiling.device import Telemetry
from s2mlp_cli.measure.profiling.memory import Resident
from s2mlp_cli.measure.profiling.profiler import Profiler, profile
from s2mlp_cli.measure.profiling.resuming import asked_of, continued
from s2mlp_cli.measure.source import spec_model
from s2mlp_cli.records.base import Environment, changed
from s2mlp_cli.records.profile import (
    ProfileRecord,
    ProfileRequest,
    ProfileResult,
    ProfileSettings,
    Roofline,
)
from tests.measure.fakes import Clock, FakeDevice
from tests.tiny import TINY
from tests.tiny import case as make_case

ENVIRONMENT = Environment(
    s2mlp="0", python="3", platform="x", cpu="one", cpu_count=2, packages={"torch": "2"}
)
MEMORY = Resident(5000, 70)
SETTINGS = ProfileSettings(seed=5, min_time_s=0, max_time_s=0.2)


@pytest.fixture(autouse=True)
def small_roofline(monkeypatch):
    monkeypatch.setattr("s2mlp_cli.measure.profiling.device._COPY_BYTES", {"cpu": 1000})
    monkeypatch.setattr("s2mlp_cli.measure.profiling.device._MATMUL_SIDE", {"cpu": 10})


def profiler(
    *specs, shifts=("conv",), device=None, settings=SETTINGS, environment=ENVIRONMENT,
    previous=None, command=(), memory=MEMORY, **asked,
):  # fmt: skip
    device = device or FakeDevice(Clock())
    request = ProfileRequest(models=tuple(spec.name for spec in specs), shifts=shifts, **asked)
    return Profiler(
        tuple(map(spec_model, specs)),
        request,
        settings,
        device,
        environment,
        command=command,
        previous=previous,
        clock=device.clock,
        memory_of=lambda case, shift, threads: memory,
    )


def test_every_level_has_a_row_for_the_references_and_what_was_asked(tiny):
    record = profiler(tiny).run()
    assert [(row.level, row.stage, row.shift) for row in record.results] == [
        (level, stage, shift)
        for level, stage in (("op", 0), ("op", 1), ("block", 0), ("block", 1), ("model", None))
        for shift in ("slice", "none", "conv")
    ]
    model = record.results[-1]
    assert len(model.samples_s) == 18  # the fake's ratios are known at once
    assert model.median_s == pytest.approx(0.01)
    assert model.ratio_to_slice.value == pytest.approx(1)
    assert model.memory.peak_rss_bytes == 5000
    assert model.memory.activations_bytes == 70
    assert record.results[1].skipped == "nothing to time: it returns its input"
    assert record.settings.seed == 5
    assert [limit.dtype for limit in record.limits] == ["fp32"]


def test_a_wrong_one_is_a_row_with_its_error_and_no_samples(tiny):
    record = profiler(tiny, shifts=("inplace",), levels=("op",)).run()
    wrong = record.results[0]
    assert wrong.shift == "inplace"
    assert wrong.error > 0.1
    assert wrong.samples_s == ()
    assert wrong.median_s is None


def test_the_operation_is_measured_cold_unless_hot_is_asked(tiny):
    for hot, expected in ((False, {True}), (True, {False})):
        device = FakeDevice(Clock())
        settings = changed(SETTINGS, hot=hot)
        profiler(tiny, device=device, settings=settings, levels=("op",)).run()
        assert set(device.cold[-6:]) == expected
    device = FakeDevice(Clock())
    profiler(tiny, device=device, levels=("model",)).run()
    assert not any(device.cold)


def test_the_record_is_handed_over_case_by_case_and_the_progress_never_exceeds_its_total(tiny):
    seen, told = [], []
    profiler(tiny).run(
        on_case=lambda record: seen.append(len(record.results)),
        on_progress=lambda *step: told.append(step),
    )
    assert seen == [3, 6, 9, 12, 15]
    assert [what for what, _, _ in told[:5]] == [
        "1/5 tiny op stage 0, batch 1, fp32: roofline in fp32",
        "1/5 tiny op stage 0, batch 1, fp32: checking conv (1 of 3)",
        "1/5 tiny op stage 0, batch 1, fp32: checking slice (2 of 3)",
        "1/5 tiny op stage 0, batch 1, fp32: checking none (3 of 3)",
        "1/5 tiny op stage 0, batch 1, fp32: timing",
    ]
    done = [done for _, done, _ in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 1.0)
    first = [left for what, _, left in told if what.startswith("1/5")]
    assert set(first) == {None}  # there is nothing to go by
    assert told[-1][2] == pytest.approx(0.0)
    assert all(left >= 0 for what, _, left in told if not what.startswith("1/5"))


def test_what_was_interrupted_is_continued_with_the_missing_rows_only(tiny):
    whole = profiler(tiny).run()

    def stop_after_two(record, seen=[]):  # noqa: B006
        seen.append(record)
        if len(seen) == 2:
            raise KeyboardInterrupt

    stopped = profiler(tiny)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(on_case=stop_after_two)
    assert len(stopped.record.results) == 6

    saved = ProfileRecord.model_validate_json(stopped.record.to_json())
    device = FakeDevice(Clock())
    resumed = profiler(tiny, previous=saved, device=device).run()
    assert resumed.results[:6] == saved.results
    assert [row.key for row in resumed.results] == [row.key for row in whole.results]
    assert len({row.key for row in resumed.results}) == 15

    again = FakeDevice(Clock())
    assert profiler(tiny, previous=resumed, device=again).run().results == resumed.results
    assert again.cold == []


def test_a_new_implementation_is_measured_beside_the_references_whose_rows_stay(tiny):
    first = profiler(tiny, shifts=("conv",), levels=("block",)).run()
    more = profiler(tiny, shifts=("conv", "roll"), previous=first, levels=("block",)).run()
    assert more.results[:6] == first.results
    assert [row.shift for row in more.results[6:]] == ["roll", "roll"]
    assert more.results[6].ratio_to_slice is not None


def test_a_record_of_another_machine_is_not_continued(tiny):
    first = profiler(tiny, levels=("op",)).run()
    other = changed(ENVIRONMENT, packages={"torch": "3"})
    with pytest.raises(RecordError, match="with torch 2, here it is 3; start a new one"):
        profiler(tiny, previous=first, environment=other)


@pytest.mark.parametrize(
    ("what", "value"),
    [("s2mlp", "1"), ("cpu", "another"), ("cpu_count", 64), ("gpus", ("one",)), ("driver", "5")],
)
def test_nor_one_of_other_hardware_or_another_version(tiny, what, value):
    first = profiler(tiny, levels=("op",)).run()
    with pytest.raises(RecordError, match=f"measured with {what} .*; start a new one"):
        profiler(tiny, previous=first, environment=changed(ENVIRONMENT, **{what: value}))


def test_nor_one_of_another_model_of_the_same_name(tiny):
    first = profiler(tiny, levels=("op",)).run()
    other = tiny.model_copy(update={"classes": 7})
    with pytest.raises(RecordError, match="'tiny' was another model .* give it another name"):
        profiler(other, previous=first)
    renamed = other.model_copy(update={"name": "other"})
    both = profiler(renamed, previous=first, levels=("op",)).run()
    assert set(both.specs) == {"tiny", "other"}
    assert both.specs["tiny"]["classes"] == 5


def test_a_record_of_several_runs_says_what_each_measured_and_how(tiny):
    first = profiler(tiny, levels=("op",), command=("one",)).run()
    again = changed(SETTINGS, seed=6, max_time_s=0.1)
    second = profiler(
        tiny, previous=first, settings=again, levels=("op", "block"), command=("two",)
    ).run()
    third = profiler(tiny, previous=second, command=("three",)).run()
    assert [(run.command, run.settings.seed, run.rows) for run in third.earlier] == [
        (("one",), 5, 6),
        (("two",), 6, 6),
    ]
    assert third.command == ("three",)
    assert len(third.results) == 15
    assert ProfileRecord.model_validate_json(third.to_json()) == third


def test_a_complete_record_is_left_as_it_is(tiny):
    whole = profiler(tiny, command=("one",)).run()
    assert profiler(tiny, previous=whole, command=("two",)).run() == whole


def test_limits_of_other_threads_or_another_type_are_not_used_for_new_rows(tiny, monkeypatch):
    asked = []

    def measure(device, dtype):
        asked.append((dtype, torch.get_num_threads()))
        return Roofline(device="cpu", dtype=dtype, threads=torch.get_num_threads())

    monkeypatch.setattr("s2mlp_cli.measure.profiling.profiler.measure_roofline", measure)
    request = {"levels": ("op",)}
    first = profiler(tiny, **request).run()
    more = profiler(tiny, shifts=("conv", "roll"), previous=first, **request).run()
    assert asked == [("fp32", 1)]
    more = profiler(tiny, previous=more, **request, threads=2).run()
    more = profiler(tiny, previous=more, **request, dtypes=("bf16",)).run()
    assert asked == [("fp32", 1), ("fp32", 2), ("bf16", 1)]
    assert [(limit.dtype, limit.threads) for limit in more.limits] == asked
    assert {more.roofline_of(row).threads for row in more.results if row.threads == 2} == {2}


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [({}, {"hot": True}, "without --hot"), ({"host_time": True}, {}, "with --host-time")],
)
def test_rows_are_not_continued_with_others_that_are_timed_in_another_way(tiny, before, now, words):
    first, later = (changed(SETTINGS, **update) for update in (before, now))
    record = profiler(tiny, settings=first, levels=("op",)).run()
    with pytest.raises(RecordError, match=f"was measured {words}; do the same"):
        profiler(tiny, previous=record, settings=later)


def test_one_that_runs_out_of_memory_within_the_rounds_keeps_what_it_has(tiny):
    count = 0

    def seconds_of(run):
        nonlocal count
        count += 1
        if count == 60:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 0.01

    device = FakeDevice(Clock(), seconds_of)
    record = profiler(tiny, device=device, levels=("block",)).run()
    lengths = [len(row.samples_s) for row in record.results]
    assert lengths.count(18) == 5
    assert 0 < min(lengths) < 18
    ended = record.results[lengths.index(min(lengths))]
    assert "ran out of memory in the rounds: use a smaller --batch-size" in ended.warnings


def test_one_that_runs_out_of_memory_before_any_sample_is_skipped_with_its_size(tiny):
    """Its warm-up fits; in the rounds, beside what the others hold, it does not."""
    conv = 2  # the third to run, after the copy and the product of the roofline
    warm_up = 4
    calls = {}

    def seconds_of(run):
        calls[run] = calls.get(run, 0) + 1
        if list(calls).index(run) == conv and calls[run] > warm_up:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 0.01

    device = FakeDevice(Clock(), seconds_of)
    *others, last = profiler(tiny, device=device, levels=("model",)).run().results
    assert all(row.median_s for row in others)
    assert (last.median_s, last.skipped) == (None, "out of memory at batch 1")


def test_what_the_hardware_did_meanwhile_is_a_remark_of_the_rows(tiny):
    device = FakeDevice(Clock(), telemetry=[Telemetry(2e9, 40.0), Telemetry(1e9, 70.0)])
    record = profiler(tiny, device=device, levels=("op",)).run()
    expected = (
        "the clock moved by -50% during the run: lock the clocks",
        "the temperature moved by +30 °C during the run: warm up first",
    )
    warned = [row.warnings[-2:] == expected for row in record.results]
    assert warned == [True, False, True, False, False, False]  # `none` has no operation to time


def test_a_gpu_that_was_idle_before_it_was_warmed_up_is_no_remark(tiny):
    """Its clock rises with the first work: what counts is what it does while it is measured."""

    class Idle(FakeDevice):
        def telemetry(self):
            return Telemetry(2e9 if self.cold else 3e8, 40.0)

    record = profiler(tiny, device=Idle(Clock()), levels=("model",)).run()
    assert not any("clock" in warning for row in record.results for warning in row.warnings)


def test_a_busy_machine_is_a_remark_of_the_record(tiny, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (64.0, 0.0, 0.0))
    busy, *_ = profiler(tiny, levels=("op",)).run().warnings
    assert busy.startswith("the machine is busy (load 64.0 on ")


def test_bad_requests_are_sentences_before_anything_runs(tiny):
    with pytest.raises(UnavailableError, match="did you mean 'conv'"):
        profiler(tiny, shifts=("cnov",))
    with pytest.raises(UnavailableError, match="does not support tf32"):
        profiler(tiny, dtypes=("tf32",))
    with pytest.raises(UnavailableError, match="--cuda-graph needs a CUDA device"):
        profiler(tiny, cuda_graph=True)
    with pytest.raises(UnavailableError, match="--batch-size max needs a CUDA device"):
        profiler(tiny, batch_sizes=(None,)).run()
    with pytest.raises(UnavailableError, match="no dtype 'fp8'; use one of fp32, tf32, bf16"):
        profiler(tiny, dtypes=("fp8",))
    for wrong in ({"batch_sizes": (4, 0)}, {"threads": 0}):
        with pytest.raises(UnavailableError, match="is 0; give 1 or more"):
            profiler(tiny, **wrong)
    with pytest.raises(SpecError, match="two of the models tiny, tiny have one name"):
        profiler(tiny, tiny)
    with pytest.raises(UnavailableError, match="is 0; give 1 or more"):
        profile(tiny, device="cpu", batch_size=0)


def test_the_largest_batch_is_searched_once_and_said(tiny, monkeypatch):
    tried = []

    def fits(case, batch):
        tried.append(batch)
        return batch <= 3

    monkeypatch.setattr("s2mlp_cli.measure.profiling.profiler.fits", fits)
    record = profiler(tiny, levels=("op",), batch_sizes=(None,)).run()
    assert {row.batch_size for row in record.results} == {3}
    assert tried == [1, 2, 4, 3]
    assert "tiny, fp32: the largest batch that fits is 3" in record.warnings


def test_compiled_rows_say_what_was_compiled_how_and_in_how_many_seconds(tiny, monkeypatch):
    monkeypatch.setattr("torch.compile", lambda module, mode: module)
    record = profiler(tiny, levels=("block",), compile="model", compile_mode="max-autotune").run()
    for row in record.results:
        assert (row.compiled, row.compile, row.compile_mode) == (True, "model", "max-autotune")
        assert row.compile_s >= 0
        assert row.memory.peak_rss_bytes == 5000
    plain = profiler(tiny, levels=("block",)).run().results[0]
    assert (plain.compiled, plain.compile, plain.compile_mode) == (False, None, None)
    assert plain.compile_s is None


def test_from_python_one_call_makes_the_record(tiny):
    record = profile(
        tiny, ("conv",), device="cpu", levels=("op",), threads=1, min_time_s=0, max_time_s=0.01
    )
    assert [row.shift for row in record.results] == ["slice", "none", "conv"] * 2
    assert record.results[0].batch_size == 1
    assert record.environment.cpu_count >= 1


def test_training_rows_say_so(tiny):
    record = profiler(tiny, levels=("block", "model"), mode="training").run()
    assert {row.mode for row in record.results} == {"training"}
    assert all(row.median_s for row in record.results)


def test_traces_are_made_of_what_is_neither_wrong_nor_unfit(tiny, tmp_path):
    made = profiler(tiny, shifts=("conv", "inplace"), levels=("op",))
    made.run()
    traces = list(made.trace(tmp_path))
    assert [trace.run.name for trace in traces] == [
        f"tiny-{shift}-cpu-fp32-b1-24x24-inference"
        for shift in ("slice", "none", "conv", "inplace")
    ]
    assert [bool(list(trace.run.glob("*.pt.trace.json"))) for trace in traces] == [1, 1, 1, 0]
    assert [trace.skipped for trace in traces[:3]] == [None] * 3
    assert traces[3].skipped.startswith("wrong values: off the reference")


def test_what_cannot_run_here_is_not_traced_even_if_no_model_was_measured(tiny, tmp_path):
    operation = profiler(tiny, shifts=("conv", "triton"), levels=("op",))
    operation.run()
    *references, lacking = operation.trace(tmp_path)
    assert [trace.skipped for trace in references] == [None] * 3
    assert "Triton" in lacking.skipped


def test_a_batch_that_did_not_fit_is_not_traced_and_the_others_are(tiny, tmp_path, monkeypatch):
    def case(case, shift, run):
        if case.batch_size == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("s2mlp_cli.measure.tracing.writing.trace_case", case)
    made = profiler(tiny, shifts=(), levels=("model",), batch_sizes=(1, 8))
    skipped = {trace.run.name: trace.skipped for trace in made.trace(tmp_path)}
    assert skipped == {
        f"tiny-{shift}-cpu-fp32-b{batch}-24x24-inference": reason
        for shift in ("slice", "none")
        for batch, reason in ((1, None), (8, "out of memory at batch 8"))
    }


def test_a_case_is_described_in_few_words(tiny):
    assert str(make_case(tiny, "op")) == "tiny op stage 0, batch 1, fp32"
    assert str(make_case(tiny, dtype="bf16", batch_size=8)) == "tiny model, batch 8, bf16"


def test_a_model_is_measured_in_every_size_that_was_asked_for(tiny):
    sizes = ((24, 24), (32, 24))
    record = profiler(tiny, levels=("model",), input_sizes=sizes).run()
    assert [(row.shift, row.input_size) for row in record.results] == [
        (shift, size) for size in sizes for shift in ("slice", "none", "conv")
    ]
    assert record.specs["tiny"]["input_size"] == [24, 24]
    more = profiler(tiny, levels=("model",), input_sizes=(*sizes, (48, 48)), previous=record).run()
    assert len(more.results) == 9


def test_memory_that_is_not_known_keeps_the_timing_and_says_why(tiny):
    record = profiler(tiny, levels=("model",), memory="the helper process was killed").run()
    for row in record.results:
        assert row.median_s
        assert (row.memory.peak_rss_bytes, row.memory.activations_bytes) == (None, None)
        assert row.memory.unknown == "the helper process was killed"
        assert row.memory.weights_bytes > 0


@pytest.mark.parametrize(
    ("shifts", "levels"), [(("fused",), ("op",)), (("none",), ("op",)), (("triton",), ("model",))]
)
def test_when_nothing_that_was_asked_for_can_run_it_stops_at_once(
    tiny, shifts, levels, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    device = FakeDevice(Clock())
    with pytest.raises(UnavailableError, match=f"nothing that was asked for .*{shifts[0]}: "):
        profiler(tiny, shifts=shifts, levels=levels, device=device).run()
    assert device.cold == []


def test_companions_are_not_timed_for_an_implementation_that_is_wrong(tiny):
    device = FakeDevice(Clock())
    record = profiler(tiny, shifts=("inplace",), levels=("block",), device=device).run()
    assert [row.shift for row in record.results] == ["inplace"] * 2
    roofline = 2 * (1 + 5 + 10)  # the first call, warm-up and samples of copy and product
    assert len(device.cold) <= roofline
    again = profiler(tiny, shifts=("inplace",), levels=("block",), previous=record)
    assert again.run() == record
    more = profiler(tiny, shifts=("inplace", "conv"), levels=("block",), previous=record).run()
    assert [row.shift for row in more.results[2:]] == ["slice", "none", "conv"] * 2


def test_each_row_keeps_the_environment_in_which_it_was_measured(tiny):
    first = profiler(tiny, levels=("op",)).run()
    later = changed(ENVIRONMENT, python="3.99", platform="another", cuda="13")
    both = profiler(tiny, levels=("op", "block"), previous=first, environment=later).run()
    assert [each.python for each in both.environments] == ["3"] * 6 + ["3.99"] * 6
    saved = ProfileRecord.model_validate_json(both.to_json())
    assert saved.earlier[0].environment == ENVIRONMENT
    assert saved.environments == both.environments


def test_a_record_of_0_1_0_reads_as_compiled_at_once_and_is_no_partner_of_one_block_by_block(tiny):
    data = profiler(tiny, levels=("model",)).run().results[0].model_dump(mode="json")
    new = {"compile", "compile_mode", "compile_s", "runtime", "source"}
    old = {name: value for name, value in data.items() if name not in new}
    plain, compiled = (ProfileResult(**{**old, "compiled": way}) for way in (False, True))
    assert (plain.compile, plain.runtime) == (None, "torch")
    assert (compiled.compile, compiled.compile_mode) == ("model", "default")
    ways = [
        changed(compiled, compile=unit, compile_mode=mode).key
        for unit in ("block", "model")
        for mode in ("default", "max-autotune")
    ]
    assert len({plain.key, *ways}) == 5
    assert compiled.key == ways[2]


ASKED = ProfileRequest(models=("tiny",), shifts=("conv",), levels=("op",), batch_sizes=(1, None))
BEGUN = ProfileRecord.new(
    command=(),
    environment=ENVIRONMENT,
    settings=SETTINGS,
    request=ASKED,
    specs={"tiny": TINY.model_dump(mode="json")},
    results=(),
)


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("--shift", {"shifts": ("conv", "roll")}),
        ("--level", {"levels": ("block", "op")}),
        ("--batch-size", {"batch_sizes": (8, None, 1)}),
        ("--mode", {"mode": "inference"}),
    ],
)
def test_what_a_record_was_asked_for_may_grow(option, change):
    (field,) = change
    request, (model,) = continued(BEGUN, changed(ASKED, **change), {field: option})
    assert request == changed(ASKED, **change)
    assert model.spec == TINY


@pytest.mark.parametrize(
    ("option", "change", "words"),
    [
        ("--shift", {"shifts": ("roll",)}, "--shift roll contradicts .*has --shift conv;"),
        ("--model", {"models": ("v1-wide",)}, "--model v1-wide .* --model tiny;"),
        ("--batch-size", {"batch_sizes": (8,)}, "--batch-size 8 .* --batch-size 1,max;"),
        ("--input-size", {"input_sizes": ((32, 24),)}, "--input-size 32x24 .* the model's own;"),
        (
            "--mode",
            {"mode": "training"},
            "--mode training .* --mode inference; leave --mode out, or start a new",
        ),
        ("--cuda-graph", {"cuda_graph": True}, "--cuda-graph on .* --cuda-graph off;"),
        ("--threads", {"threads": 4}, "--threads 4 .* --threads 1;"),
    ],
)
def test_what_contradicts_a_record_is_refused_with_both_named(option, change, words):
    (field,) = change
    with pytest.raises(RecordError, match=words):
        continued(BEGUN, changed(ASKED, **change), {field: option})


def test_options_that_were_not_given_contradict_nothing():
    others = changed(ASKED, mode="training", shifts=("roll",))
    assert continued(BEGUN, others, {})[0] == ASKED


def test_a_model_that_is_added_is_measured_after_those_of_the_record(tiny):
    more = changed(ASKED, models=("tiny", "other"))
    other = spec_model(tiny.model_copy(update={"name": "other"}))
    request, models = continued(BEGUN, more, {"models": "--model"}, (other,))
    assert request.models == tuple(model.name for model in models) == ("tiny", "other")


def test_a_record_that_does_not_say_what_it_was_asked_for_is_told_by_its_rows(tiny):
    record = profiler(tiny, levels=("op", "model"), dtypes=("fp32", "bf16")).run()
    old = changed(record, request=None, sources={})
    asked = asked_of(old)
    assert asked == changed(record.request, shifts=("slice", "none", "conv"))
    request, (model,) = continued(old, asked, {})
    assert (request, model.spec) == (asked, tiny)
