"""Interleaved rounds: every contender once per round, in an order shuffled anew each time.

A slow minute of the machine then hits all alike, and ratios are taken within a round. Measuring
ends when the ratios are known or the time is spent. Nothing here knows torch; the clock and the
sampling function are given.
"""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from s2mlp_cli import statistics

# Rounds before the ratios are looked at for the first time.
FIRST_CHECK = 12

# Each check has this many times the rounds of the one before.
GROWTH = 1.5

# Checks in a row that must agree. One is not enough: measuring that ends at the first narrow
# interval ends on the runs that happen to look calm, and such intervals miss the truth too often (8
# % of them instead of 5 %, in simulation).
CONFIRMATIONS = 2

# A ratio is known when its interval is narrower than this fraction of it.
RATIO_WIDTH = 0.01

# What tells contenders apart.
Name = TypeVar("Name", bound=Hashable)

Samples = dict[Name, list[float]]


@dataclass(frozen=True)
class Budget:
    """Seconds to measure for: at least ``least`` even when all is known, at most ``most``."""

    least: float
    most: float


@dataclass
class Convergence:
    """Decides, at ever rarer checks, whether all ratios to the baseline are known."""

    baseline: Hashable
    _next_check: int = FIRST_CHECK
    _agreeing: int = 0

    def reached(self, samples: Mapping[Name, Sequence[float]]) -> bool:
        """Look at the samples after a round; True when :data:`CONFIRMATIONS` checks agreed."""
        rounds = min(map(len, samples.values()))
        if rounds >= self._next_check:
            self._next_check = math.ceil(rounds * GROWTH)
            self._agreeing = self._agreeing + 1 if self._narrow(samples) else 0
        return self._agreeing >= CONFIRMATIONS

    def _narrow(self, samples: Mapping[Name, Sequence[float]]) -> bool:
        baseline = next((own for name, own in samples.items() if name == self.baseline), None)
        if baseline is None or len(samples) == 1:
            estimates = [statistics.median(own) for own in samples.values()]
        else:
            others = [own for own in samples.values() if own is not baseline]
            estimates = [statistics.paired_ratio(baseline, own) for own in others]
        return all(estimate.relative_width < RATIO_WIDTH for estimate in estimates)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector from running within a sample; what is due is collected before."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_garbage_collection()
def measure_rounds(
    names: Sequence[Name],
    sample: Callable[[Name], float | None],
    *,
    baseline: Hashable,
    budget: Budget,
    seed: int,
    clock: Callable[[], float],
    on_round: Callable[[float], None] = lambda elapsed: None,
) -> Samples[Name]:
    """Measure all ``names`` in interleaved rounds.

    Args:
        names: the contenders.
        sample: returns one sample in seconds, or None when this one cannot run any more: it is
            left out from then on, with what it has.
        baseline: the contender whose ratios decide when enough is known.
        budget: of time; the last round begins before it is spent.
        seed: of the order within the rounds.
        clock: seconds, from any origin.
        on_round: told after each round how many seconds have passed.

    Returns:
        One list per name, in the order of the rounds: index i of all lists is round i.
    """
    order = random.Random(seed)
    samples: Samples[Name] = {name: [] for name in names}
    running = list(names)
    convergence = Convergence(baseline)
    start = clock()
    while running:
        order.shuffle(running)
        for name in tuple(running):
            value = sample(name)
            if value is None:
                running.remove(name)
            else:
                samples[name].append(value)
        elapsed = clock() - start
        on_round(elapsed)
        known = running and convergence.reached({name: samples[name] for name in running})
        if elapsed >= budget.most or (known and elapsed >= budget.least):
            break
    return samples
