"""What may be said of two values: the ratio of speeds, and a verdict only where it is sure.

Two records are two independent runs. The interval of their quotient or difference is put together
from the intervals of both by MOVER (Donner and Zou, "Closed-form confidence intervals for
functions of the normal mean and standard deviation", 2012; for proportions it is Newcombe's
interval): each side takes the deviations that move the result to that side.

The machine is not the same in both runs: another guest, other clocks, another temperature. No
interval of one run covers that. Where both runs timed an implementation beside the same reference,
round by round, the machine cancels out of the speed relative to it, and that is what is judged.
Other times are judged as if the speed of the machine wandered between the runs.
"""

from __future__ import annotations

import math

from s2mlp_cli.compare.quantities import Quantity, RelativeSpeed
from s2mlp_cli.records.compare import ComparedRow, Judgement, Ratio
from s2mlp_cli.statistics import FEW_SAMPLES, Z95, t_quantile

Interval = tuple[float, float]

# Peaks of memory that differ by less are called equal: pages and allocators round.
SAME_SIZE = 0.01


def judged(row: str, name: str, cells: list[Quantity | None]) -> ComparedRow:
    """Return the row of one quantity: the last source that has it is judged against the first."""
    known = [cell for cell in cells if cell is not None]
    first, last = known[0], known[-1]
    ratio, verdict = judge(first, last)
    beside = _beside_the_same(first, last)
    return ComparedRow(
        row=row,
        quantity=name,
        unit=first.unit,
        values=tuple(cell.value if cell else None for cell in cells),
        intervals=tuple(cell.interval if cell else None for cell in cells),
        ratio=ratio,
        relative_to=beside[0].reference if beside else None,
        widened=first.unit == "s" and (first.doubtful or last.doubtful),
        verdict=verdict,
    )


def judge(first: Quantity, last: Quantity) -> tuple[Ratio | None, Judgement]:
    """Return the ratio of the speeds, for times, and the verdict on ``last`` against ``first``."""
    if isinstance(first.value, str) or isinstance(last.value, str):
        return None, "equal" if first.value == last.value else "differs"
    if first.unit == "s":
        ratio = _ratio(first, last)
        return ratio, _sure(ratio.ci95, 1.0, "faster", "slower")
    if first.unit == "share":
        interval = difference_interval(first.value, first.interval, last.value, last.interval)
        same = first.value == last.value
        return None, "equal" if same else _sure(interval, 0.0, "better", "worse")
    slack = SAME_SIZE * first.value if first.unit == "B" else 0
    if abs(last.value - first.value) <= slack:
        return None, "equal"
    return None, "more" if last.value > first.value else "less"


def _beside_the_same(first: Quantity, last: Quantity) -> tuple[RelativeSpeed, RelativeSpeed] | None:
    """Return the speeds relative to what both were timed beside in the same rounds."""
    one, other = first.relative, last.relative
    return (one, other) if one and other and one.reference == other.reference else None


def _ratio(first: Quantity, last: Quantity) -> Ratio:
    """Return how many times faster ``last`` is: relative to a common reference if there is one."""
    if speeds := _beside_the_same(first, last):
        one, other = speeds
        return quotient(
            other.speed, _for_few(other.speed, other.interval, last),
            one.speed, _for_few(one.speed, one.interval, first),
        )  # fmt: skip
    before, after = float(first.value), float(last.value)
    return quotient(
        before, _for_few(before, first.interval, first),
        after, _for_few(after, last.interval, last),
        wander=max(first.wander, last.wander),
    )  # fmt: skip


def _for_few(value: float, interval: Interval | None, of: Quantity) -> Interval | None:
    """Widen the interval of under 20 samples: so few do not show that they are correlated."""
    if interval is None or interval[0] <= 0 or not 1 < of.samples < FEW_SAMPLES:
        return interval
    factor = float(t_quantile(of.samples - 1)) / Z95
    return value * (interval[0] / value) ** factor, value * (interval[1] / value) ** factor


def quotient(
    numerator: float,
    numerator_interval: Interval | None,
    denominator: float,
    denominator_interval: Interval | None,
    wander: float = 0.0,
) -> Ratio:
    """Return ``numerator / denominator`` of two runs with its 95 % interval, if both have one.

    ``wander`` is the standard deviation of the machine in each run, as a fraction of its speed.
    """
    logarithmic = [
        (math.log(interval[0]), math.log(interval[1])) if interval and interval[0] > 0 else None
        for interval in (denominator_interval, numerator_interval)
    ]
    interval = difference_interval(
        math.log(denominator), logarithmic[0], math.log(numerator), logarithmic[1],
        allowance=Z95 * math.sqrt(2) * wander,
    )  # fmt: skip
    ends = interval and (math.exp(interval[0]), math.exp(interval[1]))
    return Ratio(value=numerator / denominator, ci95=ends)


def difference_interval(
    first: float,
    first_interval: Interval | None,
    last: float,
    last_interval: Interval | None,
    allowance: float = 0.0,
) -> Interval | None:
    """Return the 95 % interval of ``last - first``; None where a side has none.

    ``allowance`` is how far both may be off for a reason that is in neither interval.
    """
    if first_interval is None or last_interval is None:
        return None
    below = math.hypot(last - last_interval[0], first_interval[1] - first, allowance)
    above = math.hypot(last_interval[1] - last, first - first_interval[0], allowance)
    return last - first - below, last - first + above


def _sure(
    interval: Interval | None, neutral: float, over: Judgement, under: Judgement
) -> Judgement:
    """Return a verdict only when the whole interval is on one side."""
    if interval is None or interval[0] <= neutral <= interval[1]:
        return "undecided"
    return over if interval[0] > neutral else under
