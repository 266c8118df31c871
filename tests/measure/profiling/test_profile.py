import dataclasses

import pytest
import torch

from s2mlp_cli.errors import RecordError, SpecError, UnavailableError
from s2mlp_cli.measure.profiling.cases import Request
from s2mlp_cli.measure.profiling.device import Telemetry
from s2mlp_cli.measure.profiling.profile import profile
from s2mlp_cli.measure.profiling.profiler import Profiler, describe
from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.profile import Limit, ProfileRecord, ProfileSettings
from tests.measure.fakes import Clock, FakeDevice

ENVIRONMENT = Environment(
    s2mlp="0", python="3", platform="x", cpu="one", cpu_count=2, packages={"torch": "2"}
)
SETTINGS = ProfileSettings(seed=5, min_time_s=0, max_time_s=0.2)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr("s2mlp_cli.measure.profiling.limits._COPY_BYTES", {"cpu": 1000})
    monkeypatch.setattr("s2mlp_cli.measure.profiling.limits._MATMUL_SIDE", {"cpu": 10})


def profiler(spec, shifts=("conv",), device=None, settings=SETTINGS, request=None, **options):
    device = device or FakeDevice(Clock())
    return Profiler(
        dataclasses.replace(Request((spec,), shifts, threads=1), **(request or {})),
        settings,
        device,
        options.pop("environment", ENVIRONMENT),
        clock=device.clock,
        memory_of=options.pop("memory_of", lambda case, shift, threads: (5000, 70)),
        **options,
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
    record = profiler(tiny, ("inplace",), request={"levels": ("op",)}).run()
    wrong = record.results[2]
    assert wrong.shift == "inplace"
    assert wrong.error > 0.1
    assert wrong.samples_s == ()
    assert wrong.median_s is None


def test_the_operation_is_measured_cold_unless_hot_is_asked(tiny):
    for hot, expected in ((False, {True}), (True, {False})):
        device = FakeDevice(Clock())
        settings = SETTINGS.model_copy(update={"hot": hot})
        profiler(tiny, device=device, settings=settings, request={"levels": ("op",)}).run()
        assert set(device.cold[-6:]) == expected
    device = FakeDevice(Clock())
    profiler(tiny, device=device, request={"levels": ("model",)}).run()
    assert not any(device.cold)


def test_the_record_is_handed_over_case_by_case_and_the_progress_never_exceeds_its_total(tiny):
    seen, told = [], []
    profiler(tiny).run(
        on_case=lambda record: seen.append(len(record.results)),
        on_progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert seen == [3, 6, 9, 12, 15]
    assert told[0][0] == "limits and checks of tiny op stage 0, batch 1, fp32"
    assert told[0][1:] == pytest.approx((0.0, 15 * 0.2))
    done = [done for _, done, _ in told]
    assert done == sorted(done)
    assert done[-1] <= told[-1][2]


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
    first = profiler(tiny, ("conv",), request={"levels": ("block",)}).run()
    more = profiler(tiny, ("conv", "roll"), previous=first, request={"levels": ("block",)}).run()
    assert more.results[:6] == first.results
    assert [row.shift for row in more.results[6:]] == ["roll", "roll"]
    assert more.results[6].ratio_to_slice is not None


def test_a_record_of_another_machine_is_not_continued(tiny):
    first = profiler(tiny, request={"levels": ("op",)}).run()
    other = ENVIRONMENT.model_copy(update={"packages": {"torch": "3"}})
    with pytest.raises(RecordError, match="with torch 2, here it is 3; start a new one"):
        profiler(tiny, previous=first, environment=other)


@pytest.mark.parametrize(
    ("what", "value"),
    [("s2mlp", "1"), ("cpu", "another"), ("cpu_count", 64), ("gpus", ("one",)), ("driver", "5")],
)
def test_nor_one_of_other_hardware_or_another_version(tiny, what, value):
    first = profiler(tiny, request={"levels": ("op",)}).run()
    with pytest.raises(RecordError, match=f"measured with {what} .*; start a new one"):
        profiler(tiny, previous=first, environment=ENVIRONMENT.model_copy(update={what: value}))


def test_nor_one_of_another_model_of_the_same_name(tiny):
    first = profiler(tiny, request={"levels": ("op",)}).run()
    changed = tiny.model_copy(update={"classes": 7})
    with pytest.raises(RecordError, match="'tiny' was another model .* give it another name"):
        profiler(changed, previous=first)
    renamed = changed.model_copy(update={"name": "other"})
    both = profiler(renamed, previous=first, request={"levels": ("op",)}).run()
    assert set(both.specs) == {"tiny", "other"}
    assert both.specs["tiny"]["classes"] == 5


def test_a_record_of_several_runs_says_what_each_measured_and_how(tiny):
    first = profiler(tiny, request={"levels": ("op",)}, command=("one",)).run()
    again = SETTINGS.model_copy(update={"seed": 6, "max_time_s": 0.1})
    second = profiler(
        tiny, previous=first, settings=again, request={"levels": ("op", "block")}, command=("two",)
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
        return Limit(device="cpu", dtype=dtype, threads=torch.get_num_threads())

    monkeypatch.setattr("s2mlp_cli.measure.profiling.profiler.measure_limits", measure)
    request = {"levels": ("op",)}
    first = profiler(tiny, request=request).run()
    more = profiler(tiny, ("conv", "roll"), previous=first, request=request).run()
    assert asked == [("fp32", 1)]
    more = profiler(tiny, previous=more, request={**request, "threads": 2}).run()
    more = profiler(tiny, previous=more, request={**request, "dtypes": ("bf16",)}).run()
    assert asked == [("fp32", 1), ("fp32", 2), ("bf16", 1)]
    assert [(limit.dtype, limit.threads) for limit in more.limits] == asked
    assert {more.limit_of(row).threads for row in more.results if row.threads == 2} == {2}


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [({}, {"hot": True}, "without --hot"), ({"host_time": True}, {}, "with --host-time")],
)
def test_rows_are_not_continued_with_others_that_are_timed_in_another_way(tiny, before, now, words):
    first, later = (SETTINGS.model_copy(update=update) for update in (before, now))
    record = profiler(tiny, settings=first, request={"levels": ("op",)}).run()
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
    record = profiler(tiny, device=device, request={"levels": ("block",)}).run()
    lengths = [len(row.samples_s) for row in record.results]
    assert lengths.count(18) == 5
    assert 0 < min(lengths) < 18
    ended = record.results[lengths.index(min(lengths))]
    assert "ran out of memory in the rounds: use a smaller --batch-size" in ended.warnings


def test_one_that_runs_out_of_memory_before_any_sample_is_skipped_with_its_size(tiny):
    """Its warm-up fits; in the rounds, beside what the others hold, it does not."""
    conv = 4  # the fifth to run, after the copy and the product of the limits, slice and none
    warm_up = 4
    calls = {}

    def seconds_of(run):
        calls[run] = calls.get(run, 0) + 1
        if list(calls).index(run) == conv and calls[run] > warm_up:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 0.01

    device = FakeDevice(Clock(), seconds_of)
    *others, last = profiler(tiny, device=device, request={"levels": ("model",)}).run().results
    assert all(row.median_s for row in others)
    assert (last.median_s, last.skipped) == (None, "out of memory at batch 1")


def test_what_the_hardware_did_meanwhile_is_a_remark_of_the_rows(tiny):
    device = FakeDevice(Clock(), telemetry=[Telemetry(2e9, 40.0), Telemetry(1e9, 70.0)])
    record = profiler(tiny, device=device, request={"levels": ("op",)}).run()
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

    record = profiler(tiny, device=Idle(Clock()), request={"levels": ("model",)}).run()
    assert not any("clock" in warning for row in record.results for warning in row.warnings)


def test_a_busy_machine_is_a_remark_of_the_record(tiny, monkeypatch):
    monkeypatch.setattr("s2mlp_cli.measure.profiling.remarks._load", lambda: 64.0)
    monkeypatch.setattr("s2mlp_cli.measure.profiling.remarks._governor", lambda: "powersave")
    busy, scaled = profiler(tiny, request={"levels": ("op",)}).run().warnings
    assert busy.startswith("the machine is busy (load 64.0 on ")
    assert "governor powersave" in scaled


def test_bad_requests_are_sentences_before_anything_runs(tiny):
    with pytest.raises(UnavailableError, match="did you mean 'conv'"):
        profiler(tiny, ("cnov",))
    with pytest.raises(UnavailableError, match="does not support tf32"):
        profiler(tiny, request={"dtypes": ("tf32",)})
    with pytest.raises(UnavailableError, match="--cuda-graph needs a CUDA device"):
        profiler(tiny, request={"cuda_graph": True})
    with pytest.raises(UnavailableError, match="--batch-size max needs a CUDA device"):
        profiler(tiny, request={"batch_sizes": (None,)}).run()
    with pytest.raises(UnavailableError, match="no dtype 'fp8'; use one of fp32, tf32, bf16"):
        profiler(tiny, request={"dtypes": ("fp8",)})
    for wrong in ({"batch_sizes": (4, 0)}, {"threads": 0}):
        with pytest.raises(UnavailableError, match="is 0; give 1 or more"):
            profiler(tiny, request=wrong)
    with pytest.raises(SpecError, match="two of the models tiny, tiny have one name"):
        profiler(tiny, request={"specs": (tiny, tiny)})
    with pytest.raises(UnavailableError, match="is 0; give 1 or more"):
        profile(tiny, device="cpu", batch_size=0)


def test_the_largest_batch_is_searched_once_and_said(tiny, monkeypatch):
    tried = []

    def fits(case, batch):
        tried.append(batch)
        return batch <= 3

    monkeypatch.setattr("s2mlp_cli.measure.profiling.profiler.fits", fits)
    record = profiler(tiny, request={"levels": ("op",), "batch_sizes": (None,)}).run()
    assert {row.batch_size for row in record.results} == {3}
    assert tried == [1, 2, 4, 3]
    assert "tiny, fp32: the largest batch that fits is 3" in record.warnings


def test_what_a_compiler_needs_is_not_taken_for_the_memory_of_a_row(tiny, monkeypatch):
    monkeypatch.setattr("torch.compile", lambda module: module)
    record = profiler(tiny, request={"levels": ("block",), "compiled": True}).run()
    assert all(row.compiled and row.memory.peak_rss_bytes is None for row in record.results)


def test_from_python_one_call_makes_the_record(tiny):
    record = profile(
        tiny, ("conv",), device="cpu", levels=("op",), threads=1, min_time_s=0, max_time_s=0.01
    )
    assert [row.shift for row in record.results] == ["slice", "none", "conv"] * 2
    assert record.results[0].batch_size == 1
    assert record.environment.cpu_count >= 1


def test_training_rows_say_so(tiny):
    record = profiler(tiny, request={"levels": ("block", "model"), "mode": "training"}).run()
    assert {row.mode for row in record.results} == {"training"}
    assert all(row.median_s for row in record.results)


def test_traces_are_made_of_what_is_neither_wrong_nor_unfit(tiny, tmp_path):
    made = profiler(tiny, ("conv", "inplace"), request={"levels": ("op",)})
    made.run()
    traces = list(made.trace(tmp_path))
    assert [trace.run.name for trace in traces] == [
        f"tiny-{shift}-cpu-fp32-b1-24x24-inference"
        for shift in ("slice", "none", "conv", "inplace")
    ]
    assert [bool(list(trace.run.glob("*.pt.trace.json"))) for trace in traces] == [1, 1, 1, 0]
    assert [trace.skipped for trace in traces[:3]] == [None] * 3
    assert traces[3].skipped.startswith("wrong values: off the definition")


def test_what_cannot_run_here_is_not_traced_even_if_no_model_was_measured(tiny, tmp_path):
    operation = profiler(tiny, ("triton",), request={"levels": ("op",)})
    operation.run()
    *references, lacking = operation.trace(tmp_path)
    assert [trace.skipped for trace in references] == [None, None]
    assert "Triton" in lacking.skipped


def test_a_batch_that_did_not_fit_is_not_traced_and_the_others_are(tiny, tmp_path, monkeypatch):
    def case(case, shift, run):
        if case.batch_size == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("s2mlp_cli.measure.tracing.writing.trace_case", case)
    made = profiler(tiny, (), request={"levels": ("model",), "batch_sizes": (1, 8)})
    skipped = {trace.run.name: trace.skipped for trace in made.trace(tmp_path)}
    assert skipped == {
        f"tiny-{shift}-cpu-fp32-b{batch}-24x24-inference": reason
        for shift in ("slice", "none")
        for batch, reason in ((1, None), (8, "out of memory at batch 8"))
    }


def test_a_case_is_described_in_few_words(tiny):
    request = Request((tiny,), ())
    from s2mlp_cli.measure.profiling.cases import cases

    words = [describe(case) for case in cases(request, "cpu", lambda case: 1)]
    assert words[0] == "tiny op stage 0, batch 1, fp32"
    assert words[-1] == "tiny model, batch 1, fp32"
