"""What may be said of two values: the ratio of speeds, and a verdict only where it is sure.

Two records are two independent runs. The interval of their ratio or difference is put together
from the intervals of both by MOVER (Donner and Zou, "Closed-form confidence intervals for
functions of the normal mean and standard deviation", 2012; for proportions it is Newcombe's
interval): each side takes the deviations that move the result to that side. It covers the noise
inside both runs. What changed between the runs (another guest on the machine, other clocks) is in
neither, and no interval can know it.
"""

from __future__ import annotations

import math

from s2mlp_cli.compare.quantities import Quantity
from s2mlp_cli.records.compare import Ratio, Verdict

Interval = tuple[float, float]

# Peaks of memory that differ by less are called equal: pages and allocators round.
SAME_SIZE = 0.01


def judge(first: Quantity, last: Quantity) -> tuple[Ratio | None, Verdict]:
    """Return the ratio of the speeds, for times, and the verdict on ``last`` against ``first``."""
    if isinstance(first.value, str) or isinstance(last.value, str):
        return None, "equal" if first.value == last.value else "differs"
    if first.unit == "s":
        ratio = speed_ratio(first.value, first.interval, last.value, last.interval)
        return ratio, _sure(ratio.ci95, 1.0, "faster", "slower")
    if first.unit == "share":
        interval = difference_interval(first.value, first.interval, last.value, last.interval)
        same = first.value == last.value
        return None, "equal" if same else _sure(interval, 0.0, "better", "worse")
    slack = SAME_SIZE * first.value if first.unit == "B" else 0
    if abs(last.value - first.value) <= slack:
        return None, "equal"
    return None, "more" if last.value > first.value else "less"


def speed_ratio(
    first: float, first_interval: Interval | None, last: float, last_interval: Interval | None
) -> Ratio:
    """Return how many times faster the ``last`` time is than the ``first``."""
    logarithmic = [
        (math.log(interval[0]), math.log(interval[1])) if interval and interval[0] > 0 else None
        for interval in (first_interval, last_interval)
    ]
    interval = difference_interval(math.log(last), logarithmic[1], math.log(first), logarithmic[0])
    ends = interval and (math.exp(interval[0]), math.exp(interval[1]))
    return Ratio(value=first / last, ci95=ends)


def difference_interval(
    first: float, first_interval: Interval | None, last: float, last_interval: Interval | None
) -> Interval | None:
    """Return the 95 % interval of ``last - first``; None where a side has none."""
    if first_interval is None or last_interval is None:
        return None
    below = math.hypot(last - last_interval[0], first_interval[1] - first)
    above = math.hypot(last_interval[1] - last, first - first_interval[0])
    return last - first - below, last - first + above


def _sure(interval: Interval | None, neutral: float, over: Verdict, under: Verdict) -> Verdict:
    """Return a verdict only when the whole interval lies on one side."""
    if interval is None or interval[0] <= neutral <= interval[1]:
        return "undecided"
    return over if interval[0] > neutral else under
