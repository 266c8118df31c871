"""What is said of two values holds as often as it claims."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from s2mlp_cli import statistics
from s2mlp_cli.compare.judging import difference_interval, judge, quotient
from s2mlp_cli.compare.quantities import Quantity, RelativeSpeed

times = st.floats(1e-7, 1e3)
spread = st.floats(0, 0.5)


def around(value, below, above):
    return value * (1 - below), value * (1 + above)


@given(times, times, spread, spread, spread, spread)
def test_the_ratio_is_in_its_interval_and_turns_over_with_the_sides(a, b, a1, a2, b1, b2):
    one, other = around(a, a1, a2), around(b, b1, b2)
    forth, back = quotient(a, one, b, other), quotient(b, other, a, one)
    assert forth.ci95[0] <= forth.value * (1 + 1e-9)
    assert forth.ci95[1] >= forth.value * (1 - 1e-9)
    assert back.ci95[0] == pytest.approx(1 / forth.ci95[1])
    assert back.ci95[1] == pytest.approx(1 / forth.ci95[0])


def relative(speed, low, high, reference="slice", samples=20):
    """Return a time of one second whose speed relative to a reference is known."""
    speeds = RelativeSpeed(reference, speed, (low, high))
    return Quantity("row", "time", "s", 1.0, (0.99, 1.01), speeds, samples)


def test_a_common_reference_is_what_times_are_judged_by():
    """Twice as slow a machine, and the same speed relative to it: nothing changed."""
    first = relative(1.5, 1.49, 1.51)
    last = replace(first, value=2.0, interval=(1.98, 2.02))
    ratio, verdict = judge(first, last)
    assert (ratio.value, verdict) == (1.0, "undecided")
    assert ratio.ci95 == pytest.approx((0.9906, 1.0095), abs=1e-4)
    ratio, verdict = judge(first, relative(1.2, 1.19, 1.21))
    assert (ratio.value, verdict) == (pytest.approx(0.8), "slower")


def test_other_references_are_not_a_common_one():
    first, last = relative(1.5, 1.49, 1.51), relative(1.2, 1.19, 1.21, reference="none")
    assert judge(first, last)[0].value == 1.0


def test_few_samples_widen_the_interval_by_students_t():
    wide = judge(relative(1, 0.9, 1.1, samples=6), relative(1, 0.9, 1.1, samples=6))[0].ci95
    narrow = judge(relative(1, 0.9, 1.1), relative(1, 0.9, 1.1))[0].ci95
    assert math.log(wide[1]) == pytest.approx(2.571 / 1.96 * math.log(narrow[1]), rel=1e-3)


@given(times, spread, spread)
def test_a_time_is_never_faster_than_itself(value, below, above):
    quantity = Quantity("row", "time", "s", value, around(value, below, above))
    assert judge(quantity, quantity)[1] == "undecided"


@given(times, times, spread, spread)
def test_the_verdict_turns_over_with_the_sides(a, b, below, above):
    assume(a != b)
    one = Quantity("row", "time", "s", a, around(a, below, above))
    other = Quantity("row", "time", "s", b, around(b, below, above))
    opposite = {"faster": "slower", "slower": "faster", "undecided": "undecided"}
    assert judge(other, one)[1] == opposite[judge(one, other)[1]]


def test_no_interval_no_verdict():
    assert quotient(2.0, None, 1.0, (0.9, 1.1)).ci95 is None
    one, other = Quantity("r", "t", "s", 2.0), Quantity("r", "t", "s", 1.0, (0.9, 1.1))
    ratio, verdict = judge(one, other)
    assert (ratio.value, verdict) == (2.0, "undecided")


@pytest.mark.parametrize("truth", [1.0, 1.3])
@pytest.mark.parametrize("noise", ["lognormal", "heavy tail"])
def test_the_interval_of_two_runs_covers_the_true_ratio(truth, noise):
    """Two independent runs of 40 samples: 95 % intervals hold the ratio in 93 % of runs or more."""
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(600):
        shape = random.lognormal(0, 0.1, (2, 40))
        if noise == "heavy tail":
            shape = 1 + 0.05 * np.abs(random.standard_t(2, (2, 40)))
        first, last = (statistics.median(run) for run in (shape[0] * truth, shape[1]))
        ratio = quotient(first.value, (first.low, first.high), last.value, (last.low, last.high))
        covered += ratio.ci95[0] <= truth <= ratio.ci95[1]
    assert covered / 600 >= 0.93


def test_proportions_have_newcombes_interval():
    """Newcombe 1998 (Statistics in Medicine 17, 873), table II: 56/70 - 48/80, method 10."""
    first, last = 48 / 80, 56 / 70
    interval = difference_interval(
        first, statistics.wilson(48, 80), last, statistics.wilson(56, 70)
    )
    assert interval == pytest.approx((0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(
    ("unit", "first", "last", "verdict"),
    [
        ("1", 10, 10, "equal"),
        ("1", 10, 11, "more"),
        ("1", 10, 9, "less"),
        ("B", 1000, 1009, "equal"),
        ("B", 1000, 1011, "more"),
        ("text", "right", "wrong", "differs"),
        ("text", "right", "right", "equal"),
    ],
)
def test_exact_verdicts(unit, first, last, verdict):
    assert judge(Quantity("r", "q", unit, first), Quantity("r", "q", unit, last))[1] == verdict


def test_accuracies_far_apart_are_better_and_close_ones_undecided():
    def score(correct):
        return Quantity("r", "top-1", "share", correct / 300, statistics.wilson(correct, 300))

    assert judge(score(200), score(270))[1] == "better"
    assert judge(score(270), score(200))[1] == "worse"
    assert judge(score(270), score(272))[1] == "undecided"
    assert judge(score(270), score(270))[1] == "equal"
    assert math.isclose(score(270).value, 0.9)
