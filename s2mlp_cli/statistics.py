"""Medians, paired ratios, proportions and their 95 % intervals. Imports no torch.

Everything works along the last axis, so that one call serves one run or a thousand simulated ones.
The intervals are order statistics of the samples: they assume neither a normal distribution nor
a finite variance, which times on a shared machine do not have. They hold for the *median*; the
paired functions take one sample of each side per round, so that drift divides out.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Confidence of every interval.
LEVEL = 0.95

# The extremes of five samples hold the median with 93.75 % only: under six, no interval.
MIN_SAMPLES = 6


# Standard errors over which a correlation of neighbours is believed (nine in ten fall under).
_NOISE = 1.28

# Distance up to which correlations are summed.
_LAGS = 30


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; ``low`` and ``high`` are None under six samples."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def relative_width(self) -> float:
        """Width of the interval as a part of the value; infinite where there is no interval."""
        if self.low is None or self.high is None or not self.value:
            return math.inf
        return (self.high - self.low) / abs(self.value)


def median(samples: ArrayLike) -> Estimate:
    """Return the median of one run's samples with its interval.

    Raises:
        ValueError: there are no samples.
    """
    values = np.asarray(samples, dtype=np.float64)
    if not values.size:
        raise ValueError("the median of no samples is not defined")
    if values.size < MIN_SAMPLES:
        return Estimate(float(np.median(values)))
    low, high = median_interval(values)
    return Estimate(float(np.median(values)), float(low), float(high))


def paired_ratio(numerator: ArrayLike, denominator: ArrayLike) -> Estimate:
    """Return the median over rounds of ``numerator[i] / denominator[i]`` with its interval."""
    return median(np.asarray(numerator, float) / np.asarray(denominator, float))


def paired_difference(left: ArrayLike, right: ArrayLike) -> Estimate:
    """Return the median over rounds of ``left[i] - right[i]`` with its interval."""
    return median(np.asarray(left, float) - np.asarray(right, float))


def median_interval(samples: ArrayLike) -> tuple[Array, Array]:
    """Return the ends of the median's interval along the last axis (at least six samples).

    The interval lies between the order statistics that a sign test at 5 % would not reject,
    interpolated after Hettmansperger and Sheather (1986) because whole ranks alone cover too much.
    Samples that resemble their predecessors tell less than their number says: they are counted as
    the :func:`effective_count` of independent ones, which widens the interval.
    """
    values = np.asarray(samples, dtype=np.float64)
    ordered = np.sort(values, axis=-1)
    count = values.shape[-1]
    ranks = np.vectorize(_lower_rank_fraction, otypes=[float])(effective_count(values)) * count
    return _at_rank(ordered, ranks - 0.5), _at_rank(ordered, count - 0.5 - ranks)


def _at_rank(ordered: Array, position: Array) -> Array:
    """Interpolate between the order statistics around a position that counts from zero."""
    position = np.clip(position, 0, ordered.shape[-1] - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, ordered.shape[-1] - 1)
    weight = position - below
    at_below = np.take_along_axis(ordered, below[..., None], axis=-1)[..., 0]
    at_above = np.take_along_axis(ordered, above[..., None], axis=-1)[..., 0]
    result: Array = at_below * (1 - weight) + at_above * weight
    return result


@functools.lru_cache(maxsize=4096)
def _lower_rank_fraction(count: int) -> float:
    """Return ``(rank - 1/2) / count`` of the interval's lower end; the upper end mirrors it."""
    coverage = 1 - 2 * _binomial_below(count)
    inside = np.flatnonzero(coverage[1:] >= LEVEL)
    rank = int(inside[-1]) + 1 if inside.size else 1
    wide, narrow = float(coverage[rank]), float(coverage[rank + 1])
    share = max((wide - LEVEL) / (wide - narrow), 0.0)
    weight = (count - rank) * share / (rank + (count - 2 * rank) * share)
    return (rank + weight - 0.5) / count


def _binomial_below(count: int) -> Array:
    """Return ``P(X < k)`` for k = 0 .. count // 2 + 1, where X counts heads in ``count`` tosses."""
    heads = np.arange(count // 2 + 1)
    logarithms = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in heads
    ]
    mass = np.exp(np.array(logarithms) - count * math.log(2))
    return np.concatenate([[0.0], np.cumsum(mass)])


def effective_count(samples: Array) -> NDArray[np.int64]:
    """Return how many independent samples would say as much about the median.

    The correlation of neighbours is read off the sides of the median on which they lie, as if the
    samples were a Gaussian AR(1) series in disguise; the sides then agree at distance k with
    2/pi * asin(r**k). An r within the noise of independent samples counts as 0, and so does a
    negative one: an interval is widened on evidence and never narrowed.
    """
    count = samples.shape[-1]
    sides = np.sign(samples - np.median(samples, axis=-1, keepdims=True))
    agreement = (sides[..., 1:] * sides[..., :-1]).sum(-1) / np.maximum((sides**2).sum(-1), 1)
    r = np.where(agreement > _NOISE / math.sqrt(count), np.sin(np.pi / 2 * agreement), 0.0)
    correlations = 2 / np.pi * np.arcsin(r[..., None] ** np.arange(1, _LAGS))
    independent = np.maximum(count / (1 + 2 * correlations.sum(-1)), MIN_SAMPLES)
    return np.asarray(independent, dtype=np.int64)


def percentiles(samples: ArrayLike, percents: tuple[float, ...]) -> tuple[float, ...]:
    """Return the given percentiles (0 to 100), interpolated between the samples."""
    return tuple(float(value) for value in np.percentile(np.asarray(samples, float), percents))


def outliers(samples: ArrayLike) -> int:
    """Count the samples over the third quartile by more than three interquartile ranges."""
    values = np.asarray(samples, dtype=np.float64)
    lower, upper = np.percentile(values, (25, 75))
    return int(np.count_nonzero(values > upper + 3 * (upper - lower)))


def slow_first(samples: ArrayLike, factor: float = 1.2) -> bool:
    """Tell whether the first sample exceeds all others and their median by ``factor``."""
    values = np.asarray(samples, dtype=np.float64)
    if values.size < MIN_SAMPLES:
        return False
    rest = values[1:]
    return bool(values[0] > rest.max() and values[0] > factor * np.median(rest))


def drift(samples: ArrayLike) -> float:
    """Return by what part the second half's median differs from the first half's."""
    values = np.asarray(samples, dtype=np.float64)
    half = values.size // 2
    if half < MIN_SAMPLES // 2:
        return 0.0
    return float(np.median(values[-half:]) / np.median(values[:half]) - 1)


# The 97.5 % point of the normal distribution: two sides of 95 %.
Z95 = 1.959963984540054


def wilson(correct: int, images: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion, in 0 to 1; (0, 1) when nothing was counted.

    It holds its level for few images and near 0 and 1, where the plain normal interval fails.
    """
    if not images:
        return 0.0, 1.0
    share = correct / images
    z2 = z * z / images
    centre = (share + z2 / 2) / (1 + z2)
    half = z * math.sqrt(share * (1 - share) / images + z2 / (4 * images)) / (1 + z2)
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == images else centre + half
    return low, high


def mean_interval(mean: float, deviation: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean from the sample's standard deviation."""
    half = Z95 * deviation / math.sqrt(count) if count else math.inf
    return mean - half, mean + half


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test.

    Args:
        only_first: images that only the first model has right.
        only_second: images that only the second has right.

    Under the hypothesis that both are equally good, each of these images fell to either side like
    a coin. The images that both have right, or both wrong, say nothing about the difference.
    """
    trials = only_first + only_second
    tail = _binomial_half_tail(min(only_first, only_second), trials)
    return min(1.0, 2.0 * tail)


def _binomial_half_tail(k: int, n: int) -> float:
    """Return P(X <= k) for a fair coin thrown n times, summed from the largest term down."""
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
    term = total = math.exp(log_term)
    for i in range(k, 0, -1):
        term *= i / (n - i + 1)
        total += term
        if term < total * 1e-17:
            break
    return total
