"""Intervals and tests against scipy's."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from s2mlp_cli.statistics import mcnemar, mean_interval, wilson


@given(st.integers(1, 60_000), st.floats(0, 1))
def test_wilson_is_scipys(images, share):
    correct = round(images * share)
    expected = stats.binomtest(correct, images).proportion_ci(method="wilson")
    assert wilson(correct, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_nothing_counted_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 3000), st.integers(0, 3000))
@example(1, 5)  # few terms, of which each counts
def test_mcnemar_is_the_exact_binomial_test(one, other):
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-8, abs=1e-290)


def test_interval_of_a_mean():
    assert mean_interval(2.0, 1.0, 100) == pytest.approx((2 - 0.1959964, 2 + 0.1959964))
    assert mean_interval(0.0, 1.0, 0) == (-math.inf, math.inf)
