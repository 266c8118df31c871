"""Medians, paired ratios, proportions and their 95 % intervals. Imports no torch.

Everything works along the last axis, so that one call serves one run or a thousand simulated ones.
The intervals are order statistics of the samples: they assume neither a normal distribution nor
a finite variance, which times on a shared machine do not have. They are for the *median*; the
paired functions take one sample of each side per round, so that drift divides out.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Confidence of every interval, and the point of the normal distribution for both its sides.
LEVEL = 0.95
Z95 = 1.959963984540054

# The extremes of five samples enclose the median with 93.75 % only: under six, no interval.
MIN_SAMPLES = 6


# Fewer samples than this hide how they are correlated.
FEW_SAMPLES = 20

# Student's t at 97.5 %, by one over its degrees of freedom.
_T_AT = np.array([0, 1 / 60, 1 / 30, 1 / 15, 1 / 10, 1 / 6, 1 / 5, 1 / 4, 1 / 3, 1 / 2, 1])
_T = np.array([1.960, 2.000, 2.042, 2.131, 2.228, 2.447, 2.571, 2.776, 3.182, 4.303, 12.706])

# Waves of the slow wander that an interval is widened for, and the 95 % point of their mean square
# (chi-squared over its degrees of freedom) in samples that do not wander.
_WAVES = {2: 2.996, 3: 2.605}

# Standard errors over which a correlation of neighbours is believed (19 in 20 fall under).
_NOISE = 1.645

# The fewest independent samples that a correlation leaves; with fewer, nothing is known.
_LEAST = 3.0


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; ``low`` and ``high`` are None under six samples."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def relative_width(self) -> float:
        """Width of the interval as a fraction of the value; infinite where there is no interval."""
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


def paired_saving(whole: ArrayLike, rest: ArrayLike) -> Estimate:
    """Return the median over rounds of ``1 - rest[i] / whole[i]`` with its interval."""
    return median(1 - np.asarray(rest, float) / np.asarray(whole, float))


def median_interval(samples: ArrayLike) -> tuple[Array, Array]:
    """Return the ends of the median's interval along the last axis (at least six samples).

    The interval is between the order statistics that a sign test at 5 % would not reject,
    interpolated after Hettmansperger and Sheather (1986) because whole ranks alone cover too much.
    Samples that follow each other tell less than their number says: they count as the independent
    ones of :func:`_by_neighbours` or :func:`_by_waves`, whichever gives the wider interval.
    """
    values = np.asarray(samples, dtype=np.float64)
    ordered, middle = np.sort(values, axis=-1), np.median(values, axis=-1)
    low = high = middle
    count = values.shape[-1]
    for independent, stretch in (_by_neighbours(values), _by_waves(values)):
        believed = np.maximum(independent, MIN_SAMPLES).astype(int)
        ranks = np.vectorize(_lower_rank_fraction, otypes=[float])(believed) * count
        factor = stretch * np.sqrt(np.maximum(MIN_SAMPLES / independent, 1.0))
        low = np.minimum(low, _stretched(middle, _at_rank(ordered, ranks - 0.5), factor))
        high = np.maximum(high, _stretched(middle, _at_rank(ordered, count - 0.5 - ranks), factor))
    return low, high


def _stretched(middle: Array, end: Array, factor: Array) -> Array:
    """Move an end of an interval away from its middle; what is positive stays so."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where((end > 0) & (middle > 0), middle * (end / middle) ** factor, np.nan)
    stretched: Array = np.where(np.isnan(ratio), middle + factor * (end - middle), ratio)
    return np.where(factor == 1, end, stretched)


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


def t_quantile(degrees: ArrayLike) -> Array:
    """Return Student's t at 97.5 %, interpolated in one over its degrees of freedom."""
    return np.asarray(np.interp(1 / np.maximum(degrees, 1), _T_AT, _T))


def effective_count(samples: ArrayLike) -> Array:
    """Return how many independent samples would say as much about the median."""
    values = np.asarray(samples, dtype=np.float64)
    return np.minimum(_by_neighbours(values)[0], _by_waves(values)[0])


def _by_neighbours(samples: Array) -> tuple[Array, Array]:
    """Return the number of independent samples, and how much wider the interval has to be.

    It follows from the correlation of each rank with the next, as if the samples were an AR(1)
    series; the bias of so short a series is added (Kendall 1954). A correlation within the noise of
    independent samples counts as none, and so does a negative one: an interval is widened on
    evidence and never narrowed.
    """
    count = samples.shape[-1]
    ranks = samples.argsort(axis=-1).argsort(axis=-1) - (count - 1) / 2
    r = (ranks[..., 1:] * ranks[..., :-1]).sum(-1) / (ranks**2).sum(-1)
    found = (r > _NOISE / math.sqrt(count)) & (np.ptp(samples, axis=-1) > 0)
    r = np.clip(r + (1 + 3 * r) / count, 0.0, 0.995)
    independent = np.where(found, np.clip(count * (1 - r) / (1 + r), _LEAST, count), count)
    return independent, np.where(found, t_quantile(independent - 1) / Z95, 1.0)


def _by_waves(samples: Array) -> tuple[Array, Array]:
    """Return the same by the slowest waves in the series: by which side of the median it is on.

    Wander over minutes is seen in these cosines even under noise that hides it from neighbours
    (Muller, "HAC corrections for strongly autocorrelated time series", 2014).
    """
    count = samples.shape[-1]
    waves = 3 if count >= 9 else 2
    sides = np.sign(samples - np.median(samples, axis=-1, keepdims=True))
    places = np.pi * np.arange(1, waves + 1)[:, None] * (np.arange(count) + 0.5) / count
    power = ((sides @ np.cos(places).T) ** 2).mean(-1) * 2 / count
    found = power > _WAVES[waves]
    independent = np.where(found, np.clip(count / np.maximum(power, 1), _LEAST, count), count)
    return independent, np.where(found, t_quantile(waves) / Z95, 1.0)


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


def wilson(correct: int, images: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion, in 0 to 1; (0, 1) when nothing was counted.

    It keeps its level for few images and near 0 and 1, where the plain normal interval fails.
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
    return min(1.0, 2 * float(_binomial_below(trials)[min(only_first, only_second) + 1]))
