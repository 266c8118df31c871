"""Intervals and tests for proportions of images. Pure Python: no torch, no numpy."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution: two sides of 95 %."""


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
