"""A device whose time is made up: it runs the work, and says what the script tells it to say."""

import torch

from s2mlp_cli.measure.profiling.device import Peak, Telemetry


class Clock:
    """Seconds that pass only when somebody lets them."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class FakeDevice:
    """Runs on the CPU, reports ``seconds_of(run)``, and lets the clock pass by as much."""

    def __init__(self, clock, seconds_of=lambda run: 0.01, *, kind="cpu", telemetry=()):
        self.torch_device = torch.device("cpu")
        self.kind = kind
        self.clock = clock
        self.seconds_of = seconds_of
        self.cold = []
        self.graphs = 0
        self._telemetry = list(telemetry)

    def seconds(self, run, calls, *, cold):
        run()
        self.cold.append(cold)
        seconds = self.seconds_of(run)
        self.clock.now += seconds * calls
        return seconds

    def held(self):
        return 1000 if self.kind == "counting" else None

    def peak(self, run):
        run()
        return Peak(allocated=300, reserved=512) if self.kind == "counting" else None

    def graph(self, run):
        self.graphs += 1
        return run

    def telemetry(self):
        return self._telemetry.pop(0) if self._telemetry else Telemetry()
