import random

import pytest

from s2mlp_cli.measure.profiling.rounds import Budget, Convergence, measure_rounds
from tests.measure.fakes import Clock


class Machine:
    """Contenders with true times, a common drift, and a log of who ran when."""

    def __init__(self, times, noise=0.0, drift=0.0, seed=1):
        self.clock = Clock()
        self.times = times
        self.noise = noise
        self.drift = drift
        self.random = random.Random(seed)
        self.log = []

    def sample(self, name):
        seconds = self.times[name] * (1 + self.drift * self.clock.now)
        seconds *= 1 + self.random.uniform(-self.noise, self.noise)
        self.log.append(name)
        self.clock.now += seconds
        return seconds

    def measure(self, budget, seed=0, **options):
        return measure_rounds(
            tuple(self.times),
            options.pop("sample", self.sample),
            baseline="slice",
            budget=budget,
            seed=seed,
            clock=self.clock,
            **options,
        )


def rounds_of(log, size):
    return [tuple(log[i : i + size]) for i in range(0, len(log), size)]


def test_each_round_has_everyone_once_in_an_order_that_the_seed_decides():
    orders = []
    for seed in (0, 0, 1):
        machine = Machine({"slice": 1.0, "none": 0.5, "conv": 2.0}, noise=0.2)
        machine.measure(Budget(0, 60), seed=seed)
        rounds = rounds_of(machine.log, 3)
        assert all(sorted(order) == ["conv", "none", "slice"] for order in rounds)
        assert len(set(rounds)) > 2
        orders.append(rounds)
    assert orders[0] == orders[1] != orders[2]


def test_samples_are_paired_by_round_so_that_drift_divides_out():
    machine = Machine({"slice": 1.0, "conv": 2.0}, drift=0.01)
    samples = machine.measure(Budget(0, 100))
    ratios = [conv / own for conv, own in zip(samples["conv"], samples["slice"], strict=True)]
    assert samples["slice"][-1] > 1.5 * samples["slice"][0]
    assert all(1.9 < ratio < 2.1 for ratio in ratios)


def test_quiet_ratios_end_after_two_checks():
    machine = Machine({"slice": 1.0, "conv": 2.0}, noise=0.001)
    samples = machine.measure(Budget(0, 1e9))
    assert len(samples["slice"]) == 18  # checked at 12 and at 18 rounds


def test_ratios_that_are_known_end_it_although_the_times_drift():
    samples = Machine({"slice": 1.0, "conv": 2.0}, drift=0.001).measure(Budget(0, 1e9))
    assert samples["slice"][-1] > 1.04 * samples["slice"][0]
    assert len(samples["slice"]) == 18


def test_one_ratio_that_is_not_known_keeps_it_going():
    convergence = Convergence("slice")
    for rounds in range(1, 60):
        wide = [1.0 + index % 2 for index in range(rounds)]
        samples = {"slice": [1.0] * rounds, "none": [0.5] * rounds, "conv": wide}
        assert not convergence.reached(samples)


def test_least_time_is_spent_even_when_all_is_known():
    machine = Machine({"slice": 1.0, "conv": 2.0})
    machine.measure(Budget(300, 1e9))
    assert 300 <= machine.clock.now < 306


def test_most_time_ends_what_is_not_known():
    machine = Machine({"slice": 1.0, "conv": 2.0}, noise=0.5)
    samples = machine.measure(Budget(0, 50))
    assert 50 <= machine.clock.now < 55
    assert len(samples["conv"]) == len(samples["slice"])


def test_one_that_cannot_go_on_is_left_out_and_the_others_go_on():
    machine = Machine({"slice": 1.0, "conv": 2.0})

    def sample(name):
        return None if name == "conv" and len(machine.log) > 8 else machine.sample(name)

    samples = machine.measure(Budget(0, 1e9), sample=sample)
    assert 3 < len(samples["conv"]) < 6
    assert len(samples["slice"]) >= 18


def test_nobody_left_ends_it():
    machine = Machine({"slice": 1.0})
    assert machine.measure(Budget(0, 1e9), sample=lambda name: None) == {"slice": []}


def test_a_single_contender_ends_when_its_median_is_known():
    machine = Machine({None: 1.0}, noise=0.001)
    samples = measure_rounds(
        (None,), machine.sample, baseline="slice", budget=Budget(0, 1e9), seed=0,
        clock=machine.clock,
    )  # fmt: skip
    assert len(samples[None]) == 18


def test_rounds_tell_how_much_time_has_passed():
    told = []
    machine = Machine({"slice": 1.0})
    machine.clock.now = 1000.0  # whatever the clock's origin
    machine.measure(Budget(0, 3), on_round=told.append)
    assert told == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("wide_at", [12, 18])
def test_convergence_needs_two_narrow_checks_in_a_row(wide_at):
    convergence = Convergence("slice")
    reached = []
    for rounds in range(1, 60):
        spread = 0.5 if rounds == wide_at else 0.0
        own = [1 + spread * (index % 2) for index in range(rounds)]
        if convergence.reached({"slice": [1.0] * rounds, "conv": own}):
            reached.append(rounds)
            break
    assert reached == [27 if wide_at == 12 else 41]
