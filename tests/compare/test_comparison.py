"""Records matched row by row, and judged by what the machine cannot do."""

import math

import numpy as np
import pytest

from s2mlp_cli import statistics
from s2mlp_cli.compare import compare_records
from s2mlp_cli.compare.comparison import compare, environment_differences
from s2mlp_cli.compare.quantities import Quantity
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.profile import EarlierRun, ProfileRecord
from tests import samples


def values(*names):
    return [Quantity(row, name, "1", 1) for row, name in names]


def test_rows_are_kept_together_and_those_of_one_record_are_named():
    rows, only_in = compare(
        [
            values(("a", "x"), ("b", "x"), ("a", "y"), ("c", "x")),
            values(("a", "x"), ("b", "x"), ("b", "y")),
        ]
    )
    assert [(row.row, row.quantity) for row in rows] == [("a", "x"), ("b", "x")]
    assert [(each.row, each.present) for each in only_in] == [
        ("c", (True, False)),
        ("a: y", (True, False)),
        ("b: y", (False, True)),
    ]


@pytest.mark.parametrize("kind", [kind for kind in samples.ALL if kind not in ("trace", "compare")])
def test_a_record_equals_itself(kind):
    record = samples.ALL[kind]()
    result = compare_records(["a", "b"], [record, record], None)
    assert result.results
    assert not result.lone
    assert not result.environments
    assert {row.verdict for row in result.results} <= {"equal", "undecided"}


@pytest.mark.parametrize("kind", ["trace", "compare"])
def test_a_trace_or_a_comparison_is_no_measurement_to_compare(kind):
    record = samples.ALL[kind]()
    with pytest.raises(RecordError, match=f"records of {kind} cannot be compared; give records of"):
        compare_records(["a", "b"], [record, record], None)


def test_other_kinds_are_named():
    with pytest.raises(RecordError, match="a is a record of count and b one of verify"):
        compare_records(["a", "b"], [samples.count(), samples.verify()], None)


def test_results_on_other_images_are_not_compared():
    one, other = samples.validate(), samples.validate()
    data = other.results[0].data.model_copy(update={"fingerprint": "ee" * 32})
    other = other.model_copy(
        update={"results": (other.results[0].model_copy(update={"data": data}),)}
    )
    result = compare_records(["a", "b"], [one, other], None)
    assert not result.results
    assert len(result.lone) == 2


def test_models_that_were_validated_together_are_told_apart():
    alone = samples.validate()
    (result,) = alone.results
    other = result.model_copy(update={"model": "another"})
    both = alone.model_copy(update={"results": (result, other)})
    images = f"{result.images} images of the set cdcdcdcdcdcd"
    for record, rows in (
        (alone, {images}),
        (both, {f"{images}, {result.model}", f"{images}, another"}),
    ):
        assert {row.row for row in compare_records(["a", "b"], [record] * 2, None).results} == rows


def test_a_comparison_says_of_what_it_is_and_stands_where_the_last_was_measured():
    first, last = samples.count(), samples.count()
    there = last.environment.model_copy(update={"cpu": "another"})
    last = last.model_copy(update={"environment": there})
    result = compare_records(["a", "b"], [first, last], None)
    assert result.command == ("s2mlp", "compare", "a", "b")
    assert [(source.path, source.schema_name) for source in result.sources] == [
        ("a", "s2mlp.count/1"), ("b", "s2mlp.count/1"),
    ]  # fmt: skip
    assert result.environment == there


@pytest.mark.parametrize(
    ("slower", "limit", "failed"),
    [(1.1, 0.05, 4), (1.0499, 0.05, 0), (1.02, 0.05, 0), (0.9, 0.0, 0)],
)
def test_the_gate_fails_only_when_the_interval_excludes_less(slower, limit, failed):
    profiles = [samples.profile(batches=(8,)), samples.profile(slower, batches=(8,))]
    result = compare_records(["a", "b"], profiles, limit)
    assert len(result.too_slow) == failed


def test_a_row_that_the_last_record_lacks_does_not_fail_the_gate():
    series = [samples.profile(), samples.profile(1.2), samples.profile(batches=(8,))]
    assert not compare_records(["a", "b", "c"], series, 0.05).too_slow


def test_a_gate_with_nothing_to_judge_is_an_error():
    with pytest.raises(RecordError, match="--fail-slower has nothing to judge: a, b have no timed"):
        compare_records(["a", "b"], [samples.count(), samples.count()], 0.05)


def test_a_gate_does_not_pass_for_want_of_intervals():
    short = without_intervals(samples.profile())
    slow = without_intervals(samples.profile(10))
    with pytest.raises(RecordError, match="none of the 16 timed rows of a, b has an interval"):
        compare_records(["a", "b"], [short, slow], 0.05)
    assert compare_records(["a", "b"], [short, slow], None).results


def test_a_gate_does_not_pass_because_the_last_record_lacks_its_rows():
    series = [
        samples.profile(batches=(1,)),
        samples.profile(batches=(1,)),
        samples.profile(2, (8,)),
    ]
    with pytest.raises(RecordError, match="a, b, c have no timed row in common"):
        compare_records(["a", "b", "c"], series, 0.05)


def test_records_of_one_model_each_are_about_these_models():
    result = compare_records(["a", "b"], [samples.count(), samples.count("v1-wide", 71)], None)
    assert {row.row for row in result.results} == {"v2-small 1×224×224 → v1-wide 1×224×224"}
    assert result.results[0].values == (25_000_000, 71)
    assert not result.lone


def test_records_of_several_models_are_matched_by_name():
    one, other = samples.count(), samples.count("v1-wide")
    both = one.model_copy(update={"results": (*one.results, *other.results)})
    result = compare_records(["a", "b"], [both, other], None)
    assert {row.row for row in result.results} == {"v1-wide 1×224×224"}
    assert [each.row for each in result.lone] == ["v2-small 1×224×224"]


def without_intervals(profile):
    """Leave three samples of each row: too few for an interval."""
    rows = tuple(
        changed(row, ci95_s=None, samples_s=row.samples_s[:3], ratio_to_slice=None)
        for row in profile.results
    )
    return changed(profile, results=rows)


def test_the_gpu_and_torch_are_named_first():
    here = samples.ENVIRONMENT
    there = here.model_copy(
        update={"gpus": ("H200",), "python": "3.12.0", "packages": {"torch": "2.15.0"}}
    )
    found = environment_differences([here, there])
    assert [(each.what, each.values) for each in found] == [
        ("GPU", (None, "H200")),
        ("torch", ("2.11.0", "2.15.0")),
        ("Python", ("3.11.8", "3.12.0")),
        ("fvcore", ("0.1.5", None)),
    ]


def results(record, **fields):
    """Return the record with fields of its rows changed."""
    return changed(record, results=tuple(changed(row, **fields) for row in record.results))


def verdicts(record):
    return {row.verdict for row in record.results if row.unit == "s"}


def test_a_shift_that_is_refused_now_fails_the_gate():
    before = samples.profile(batches=(8,))
    broken = [
        changed(
            row, samples_s=(), median_s=None, ci95_s=None, ratio_to_slice=None, memory=None,
            skipped="wrong values: off by 0.3",
        )
        if row.shift == "conv" else row
        for row in before.results
    ]  # fmt: skip
    after = changed(before, results=tuple(broken))
    record = compare_records(["a", "b"], [before, after], 0.05)
    assert record.failed
    assert not record.too_slow
    assert [(each.quantity, each.reason) for each in record.no_longer_timed] == [
        ("conv time", "wrong values: off by 0.3")
    ] * 2
    assert not compare_records(["a", "b"], [before, after], None).failed
    assert not compare_records(["a", "b"], [after, before], 0.05).failed


def test_what_was_never_timed_fails_no_gate():
    assert not compare_records(["a", "b"], [samples.profile()] * 2, 0.05).failed


def test_nothing_timed_in_both_is_an_error():
    record = samples.profile(batches=(8,))
    skipped = changed(record, results=record.results[-1:])
    with pytest.raises(RecordError, match="nothing was timed in a, b"):
        compare_records(["a", "b"], [skipped, skipped], None)


@pytest.mark.parametrize(
    ("setting", "words"), [("hot", "warm cache"), ("host_time", "with the host's time")]
)
def test_times_that_mean_something_else_are_not_compared(setting, words):
    cold = samples.profile(batches=(8,))
    other = changed(cold, settings=changed(cold.settings, **{setting: True}))
    record = compare_records(["a", "b"], [cold, other], None)
    assert not record.results
    assert {row.row.endswith(words) for row in record.lone} == {True, False}
    assert compare_records(["a", "b"], [other, other], None).results
    with pytest.raises(RecordError, match="no timed row in common"):
        compare_records(["a", "b"], [cold, other], 0.05)


def test_rows_of_an_earlier_run_have_its_settings():
    cold = samples.profile(batches=(8,))
    run = EarlierRun(
        created=cold.created, command=("s2mlp", "profile"), settings=cold.settings, rows=4
    )
    resumed = changed(cold, settings=changed(cold.settings, hot=True), earlier=(run,))
    record = compare_records(["a", "b"], [cold, resumed], None)
    assert {row.row for row in record.results} == {
        "v2-small, shift alone of stage 0, cpu, fp32, batch 8, 224×224, 2 threads"
    }


def test_a_profile_that_was_resumed_elsewhere_says_so():
    record = samples.profile(batches=(8,))
    before = changed(record.environment, python="3.10.1")
    run = EarlierRun(
        created=record.created, command=("s2mlp",), settings=record.settings, rows=4,
        environment=before,
    )  # fmt: skip
    mixed = changed(record, earlier=(run,))
    assert compare_records(["a", "b"], [mixed, record], None).remarks == (
        "the rows of a were measured under different conditions (Python 3.10.1 and 3.11.8)",
    )


SPEC = {"name": "v2-small", "classes": 10, "stages": [{"depth": 4}, {"depth": 14}]}
THINNER = {**SPEC, "title": "words", "stages": [{"depth": 4}, {"depth": 12}]}


def test_models_of_one_name_and_other_specs_are_not_compared():
    one = changed(samples.profile(batches=(8,)), specs={"v2-small": SPEC})
    other = changed(one, specs={"v2-small": THINNER})
    same = changed(one, specs={"v2-small": {**SPEC, "title": "words"}})
    record = compare_records(["a.json", "b.json", "c.json"], [one, other, other], None)
    assert {row.row.partition(",")[0] for row in record.results} == {"v2-small of b.json"}
    assert record.remarks == (
        "v2-small has another spec in a.json than in b.json (stages.1.depth 14 and 12); its times "
        "are not compared",
    )
    assert compare_records(["a", "b"], [one, same], None).results
    with pytest.raises(RecordError, match="no timed row in common; v2-small has another spec"):
        compare_records(["a", "b"], [one, other], 0.05)


def test_counts_of_another_spec_are_compared_and_the_spec_is_named():
    one, other = (results(samples.count(), spec=spec) for spec in (SPEC, THINNER))
    record = compare_records(["a", "b"], [one, other], None)
    assert len(record.results) == 6
    assert record.remarks == (
        "v2-small has another spec in a than in b (stages.1.depth 14 and 12)",
    )


# Two runs on a machine that wanders ------------------------------------------------------------


def measured(random, times, rounds, wander):
    """Return a profile of ``times`` (seconds by shift) in interleaved rounds on such a machine.

    The machine wanders by 10 % (AR(1) with the correlation ``wander`` from round to round), which
    all of a round see alike; each sample has 3 % of noise of its own.
    """
    machine = np.empty(rounds)
    machine[0] = 0.1 * random.normal()
    for index in range(1, rounds):
        fresh = 0.1 * math.sqrt(1 - wander**2) * random.normal()
        machine[index] = wander * machine[index - 1] + fresh
    rows = []
    own = {
        shift: time * np.exp(machine + 0.03 * random.normal(size=rounds))
        for shift, time in times.items()
    }
    for shift, values in own.items():
        middle = statistics.median(values)
        ends = None if middle.low is None else (middle.low, middle.high)
        row = {**samples.timed(shift, "model"), "samples_s": values.tolist()}
        rows.append({**row, "median_s": middle.value, "ci95_s": ends, "ratio_to_slice": None})
    frame = samples.frame("profile", *rows, settings=samples.profile().settings)
    return ProfileRecord.model_validate(frame)


RUNS = 100


@pytest.mark.parametrize("wander", [0.0, 0.8, 0.99, 0.9999])
@pytest.mark.parametrize("rounds", [8, 30])
def test_equal_runs_are_rarely_called_different_however_the_machine_wanders(wander, rounds):
    """And their interval covers the truth, with a reference and without one."""
    random = np.random.default_rng(11)
    times = {"none": 0.018, "slice": 0.025, "conv": 0.04}
    called = {"none": 0, "slice": 0, "conv": 0}
    for _ in range(RUNS):
        pair = [measured(random, times, rounds, wander) for _ in range(2)]
        for row in compare_records(["a", "b"], pair, None).results:
            if row.unit == "s":
                called[row.quantity.removesuffix(" time")] += row.verdict != "undecided"
    assert all(different <= 0.07 * RUNS for different in called.values()), called


@pytest.mark.parametrize("wander", [0.8, 0.9999])
def test_a_shift_that_became_slower_is_found_under_the_wander(wander):
    """15 % slower, under 10 % of wander: the ratio of ratios sees it, and covers its value."""
    random = np.random.default_rng(12)
    before, after = ({"slice": 0.025, "conv": 0.04 * slower} for slower in (1, 1.15))
    found = covered = 0
    for _ in range(RUNS):
        pair = [measured(random, times, 30, wander) for times in (before, after)]
        record = compare_records(["a", "b"], pair, 0.05)
        row = next(row for row in record.results if row.quantity == "conv time")
        found += row in record.too_slow
        covered += row.ratio.ci95[0] <= 1 / 1.15 <= row.ratio.ci95[1]
    assert found >= 0.95 * RUNS
    assert covered >= 0.93 * RUNS


def test_what_stands_behind_a_verdict_is_in_the_record():
    record = compare_records(["a", "b"], [samples.profile(batches=(8,))] * 2, None)
    model = {row.quantity: row for row in record.results if "whole model" in row.row}
    assert model["conv time"].relative_to == "slice"
    assert model["slice time"].relative_to == "none"
    assert model["none time"].relative_to is None
    assert not model["conv time"].widened
