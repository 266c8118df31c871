"""The intervals cover the truth as often as they say, whatever the noise, stopping rule included."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from s2mlp_cli import statistics
from s2mlp_cli.measure.profiling.rounds import Convergence

RUNS = 1000
TRUE_RATIO = 1.3


def rng(seed=0):
    return np.random.default_rng(seed)


def coverage(samples, truth):
    low, high = statistics.median_interval(samples)
    return float(np.mean((low <= truth) & (truth <= high)))


# Multiplicative noise of a time, shape (runs, rounds). Both sides draw from the same, so that the
# median of their ratio is the true one exactly.
NOISES = {
    "calm": lambda r, shape: np.exp(0.01 * r.normal(size=shape)),
    "noisy": lambda r, shape: np.exp(0.3 * r.normal(size=shape)),
    "skewed": lambda r, shape: 1 + 0.2 * r.exponential(size=shape),
    "heavy tails": lambda r, shape: 1 + 0.05 * r.pareto(1.2, size=shape),
    "outliers": lambda r, shape: np.where(r.random(shape) < 0.1, 5.0, 1 + 0.02 * r.random(shape)),
    "two modes": lambda r, shape: r.choice([1.0, 1.4], shape) + 0.02 * r.random(shape),
}
DRIFTS = {
    "steady": lambda shape: np.ones(shape[1]),
    "warming up": lambda shape: 1 + np.exp(-np.arange(shape[1]) / 5),
    "slowing down": lambda shape: np.linspace(1, 2, shape[1]),
    "a slow spell": lambda shape: np.where(np.arange(shape[1]) % 20 < 5, 3.0, 1.0),
}


@pytest.mark.parametrize("rounds", [6, 7, 9, 12, 20, 37, 100])
@pytest.mark.parametrize("noise", NOISES)
def test_the_ratio_of_paired_rounds_is_covered_in_95_percent(noise, rounds):
    r, shape = rng(rounds), (RUNS, rounds)
    for drift in DRIFTS.values():  # hits both sides of a round, and so divides out
        theirs = TRUE_RATIO * drift(shape) * NOISES[noise](r, shape)
        own = drift(shape) * NOISES[noise](r, shape)
        assert 0.93 <= coverage(theirs / own, TRUE_RATIO) <= 0.97


@pytest.mark.parametrize("rounds", [6, 15, 60])
def test_the_median_of_a_skewed_time_is_covered_too(rounds):
    samples = rng().exponential(size=(RUNS, rounds))
    assert 0.93 <= coverage(samples, math.log(2)) <= 0.97


@pytest.mark.parametrize(("noise", "rounds"), [("calm", 300), ("skewed", 300), ("noisy", 60)])
def test_stopping_when_the_ratio_is_known_does_not_spoil_the_coverage(noise, rounds):
    """The rule of the real run decides on the fly; the interval reported is that of the stop."""
    r, shape = rng(7), (RUNS, rounds)
    theirs = TRUE_RATIO * NOISES[noise](r, shape)
    own = NOISES[noise](r, shape)
    covered = sum(stopped_covers(theirs[run], own[run]) for run in range(RUNS))
    assert 0.93 * RUNS <= covered <= 0.97 * RUNS


def stopped_covers(theirs, own):
    convergence = Convergence("slice")
    for rounds in range(1, len(own) + 1):
        if convergence.reached({"slice": theirs[:rounds], "x": own[:rounds]}):
            break
    estimate = statistics.paired_ratio(theirs[:rounds], own[:rounds])
    return estimate.low <= TRUE_RATIO <= estimate.high


def wandering(r, shape, correlation, spread=1.0):
    """Return series whose values follow each other: AR(1), with this standard deviation."""
    series = r.normal(size=shape)
    for index in range(1, shape[1]):
        series[:, index] *= math.sqrt(1 - correlation**2)
        series[:, index] += correlation * series[:, index - 1]
    return spread * series


@pytest.mark.parametrize("correlation", [0.2, 0.5, 0.8])
def test_correlated_samples_widen_the_interval(correlation):
    r = rng(3)
    samples = wandering(r, (RUNS, 300), correlation)
    assert 0.93 <= coverage(samples, 0) <= 0.985
    independent = statistics.effective_count(r.normal(size=(RUNS, 300)))
    assert np.median(statistics.effective_count(samples)) < np.median(independent) == 300


@pytest.mark.parametrize(
    ("correlation", "samples"), [(0.5, 40), (0.8, 40), (0.9, 100), (0.95, 300), (0.98, 1000)]
)
def test_a_machine_that_wanders_by_10_percent_is_covered(correlation, samples):
    """As long as the run lasts some times as long as the wander; no run shows a slower one."""
    r, shape = rng(5), (RUNS, samples)
    times = np.exp(wandering(r, shape, correlation, 0.1) + r.normal(scale=0.02, size=shape))
    assert coverage(times, 1.0) >= 0.93


def test_wander_under_noise_as_large_is_seen():
    r, shape = rng(6), (RUNS, 300)
    times = np.exp(wandering(r, shape, 0.95, 0.1) + r.normal(scale=0.1, size=shape))
    assert coverage(times, 1.0) >= 0.92


def test_students_t_is_the_textbook_one():
    for degrees, quantile in ((1, 12.706), (3, 3.182), (12, 2.179), (40, 2.021), (1e9, 1.960)):
        assert statistics.t_quantile(degrees) == pytest.approx(quantile, rel=2e-3)


times = hnp.arrays(np.float64, st.integers(6, 60), elements=st.floats(1e-6, 1e3), unique=True)


@given(times)
def test_the_interval_holds_the_median_and_is_positive_as_times_are(samples):
    estimate = statistics.median(samples)
    assert 0 < estimate.low <= estimate.value <= estimate.high < math.inf


def test_the_interval_of_independent_samples_is_within_them():
    samples = rng(1).exponential(size=(200, 30))
    alone = statistics.effective_count(samples) == 30
    low, high = statistics.median_interval(samples[alone])
    assert np.mean(alone) > 0.85
    assert np.all(samples[alone].min(-1) <= low)
    assert np.all(high <= samples[alone].max(-1))


@given(times, st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(samples, factor):
    scaled, plain = statistics.median(samples * factor), statistics.median(samples)
    assert scaled.low == pytest.approx(plain.low * factor)
    assert scaled.high == pytest.approx(plain.high * factor)


@given(times)
def test_a_ratio_to_itself_is_one(samples):
    assert statistics.paired_ratio(samples, samples) == statistics.Estimate(1.0, 1.0, 1.0)


@given(times)
def test_order_of_magnitude_of_the_worst_sample_does_not_matter(samples):
    worse = np.where(samples == samples.max(), samples * 1e6, samples)
    if len(samples) > 12:
        assert statistics.median(worse).low == statistics.median(samples).low


def test_the_interval_of_order_statistics_is_the_textbook_one():
    """n = 10: ranks 2 and 9 cover 97.85 %, ranks 3 and 8 cover 89.06 %; 95 % lies between."""
    low, high = statistics.median_interval([1.0, 10, 2, 9, 3, 8, 4, 7, 5, 6])
    inside = (0.978516 - 0.95) / (0.978516 - 0.890625)
    weight = 8 * inside / (2 + 6 * inside)  # of the inner rank, after Hettmansperger and Sheather
    assert low == pytest.approx(2 + weight, abs=1e-4)
    assert high == pytest.approx(9 - weight, abs=1e-4)


def test_few_samples_have_a_median_but_no_interval():
    estimate = statistics.median([3.0, 1.0, 2.0, 5.0, 4.0])
    assert estimate == statistics.Estimate(3.0, None, None)
    assert estimate.relative_width == math.inf
    with pytest.raises(ValueError, match="no samples"):
        statistics.median([])


@pytest.mark.parametrize("value", [2.0, -2.0])
def test_a_width_is_a_part_of_the_value(value):
    assert statistics.Estimate(value, value - 0.2, value + 0.3).relative_width == pytest.approx(
        0.25
    )
    assert statistics.Estimate(0.0, -0.2, 0.3).relative_width == math.inf


def test_a_difference_is_taken_round_by_round():
    drift = np.linspace(1, 100, 30)
    estimate = statistics.paired_difference(drift + 2, drift)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2, 2, 2))


def test_percentiles_are_interpolated():
    assert statistics.percentiles(range(101), (50, 90, 99)) == (50, 90, 99)
    assert statistics.percentiles([1.0, 2.0], (50,)) == (1.5,)


def test_outliers_drift_and_a_slow_first_round_are_found():
    calm = [1.0, 1.01, 0.99, 1.02, 0.98] * 6
    assert statistics.outliers(calm) == 0
    assert statistics.outliers([*calm, 2.0, 3.0]) == 2
    assert not statistics.slow_first(calm)
    assert statistics.slow_first([1.5, *calm])
    assert not statistics.slow_first([1.5, *calm, 1.6])
    assert statistics.drift(calm) == pytest.approx(0, abs=0.02)
    assert statistics.drift([1.0] * 10 + [1.2] * 10) == pytest.approx(0.2)
    assert statistics.drift([1.0] * 3 + [9.0] + [0.5] * 3) == pytest.approx(-0.5)
    assert statistics.drift([1.0, 1.0, 2.0, 2.0, 2.0]) == 0


def test_what_is_just_not_doubtful():
    even = [0.0, 1.0, 2.0, 3.0, 4.0] * 20  # quartiles 1 and 3: the fence stands at 3 + 3 * 2
    assert (statistics.outliers([*even, 8.9]), statistics.outliers([*even, 9.1])) == (0, 1)
    assert not statistics.slow_first([1.19, *[1.0] * 9])
    assert statistics.slow_first([1.21, *[1.0] * 9])
    assert statistics.slow_first([9.0, *[1.0] * 5])
    assert not statistics.slow_first([9.0, *[1.0] * 4])  # under six nothing is said
