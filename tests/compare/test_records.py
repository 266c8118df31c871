"""Records matched row by row."""

import pytest

from s2mlp_cli.compare import compare_records
from s2mlp_cli.compare.environments import environment_differences
from s2mlp_cli.compare.matching import compare
from s2mlp_cli.compare.quantities import Quantity
from s2mlp_cli.errors import RecordError
from tests import samples


def values(*names):
    return [Quantity(row, name, "1", 1) for row, name in names]


def test_rows_stand_together_and_lone_ones_are_told_apart():
    rows, lone = compare(
        [
            values(("a", "x"), ("b", "x"), ("a", "y"), ("c", "x")),
            values(("a", "x"), ("b", "x"), ("b", "y")),
        ]
    )
    assert [(row.row, row.quantity) for row in rows] == [("a", "x"), ("b", "x")]
    assert [(each.row, each.present) for each in lone] == [
        ("c", (True, False)),
        ("a: y", (True, False)),
        ("b: y", (False, True)),
    ]


@pytest.mark.parametrize("kind", [kind for kind in samples.ALL if kind != "trace"])
def test_a_record_equals_itself(kind):
    record = samples.ALL[kind]()
    result = compare_records(["a", "b"], [record, record], None)
    assert result.results
    assert not result.lone
    assert not result.environments
    assert {row.verdict for row in result.results} <= {"equal", "undecided"}


def test_a_trace_is_no_measurement_to_compare():
    with pytest.raises(RecordError, match="records of trace cannot be compared; give records of"):
        compare_records(["a", "b"], [samples.trace(), samples.trace()], None)


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
    [(1.1, 0.05, 8), (1.0501, 0.05, 0), (1.02, 0.05, 0), (0.9, 0.0, 0)],
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
    rows = tuple(row.model_copy(update={"ci95_s": None}) for row in profile.results)
    return profile.model_copy(update={"results": rows})


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
