"""The CUDA twin: its arithmetic with a stand-in for torch.cuda, the real thing where there is one."""

import sys
import types

import pytest
import torch

from s2mlp_cli.measure.profiling import device as cuda
from s2mlp_cli.measure.profiling.device import CudaDevice, Peak, Telemetry
from tests.measure.fakes import Clock

PLACE = torch.device("cuda", 0)


class Gpu:
    """A GPU on which a call takes 2 ms, a flush 5 ms, and which notes what it is asked to do."""

    def __init__(self, monkeypatch):
        self.now_ms = 0.0
        self.log = []
        self.allocated, self.reserved = 100, 1000
        monkeypatch.setattr(cuda, "_event", lambda: Event(self))
        for name, stand_in in {
            "synchronize": lambda device: self.log.append("wait"),
            "_sleep": lambda cycles: self.log.append(("hold", cycles)),
            "empty_cache": lambda: self.log.append("empty"),
            "reset_peak_memory_stats": lambda device: self.log.append("reset"),
            "memory_allocated": lambda device: self.allocated,
            "memory_reserved": lambda device: self.reserved,
            "max_memory_allocated": lambda device: self.allocated + 40,
            "max_memory_reserved": lambda device: self.reserved + 64,
        }.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)

    def run(self):
        self.now_ms += 2
        self.log.append("run")

    def flush(self):
        self.now_ms += 5
        self.log.append("flush")


class Event:
    def __init__(self, gpu):
        self.gpu = gpu

    def record(self):
        self.at = self.gpu.now_ms

    def elapsed_time(self, end):
        return end.at - self.at


@pytest.fixture
def gpu(monkeypatch):
    return Gpu(monkeypatch)


def test_events_stand_around_each_call_and_leave_the_flush_out(gpu, monkeypatch):
    device = CudaDevice(PLACE, host_time=False, clock=Clock())
    monkeypatch.setattr(device, "_flush_cache", gpu.flush)
    assert device.seconds(gpu.run, 3, cold=True) == pytest.approx(0.002)
    assert gpu.log == ["wait", ("hold", 0), *["flush", "run"] * 3, "wait"]
    assert device.seconds(gpu.run, 3, cold=False) == pytest.approx(0.002)


def held(gpu):
    return [entry[1] for entry in gpu.log if isinstance(entry, tuple)]


def test_the_queue_is_held_for_as_long_as_launching_took(gpu):
    ticks = iter([0.0, 0.01, 1.0, 3.0, 5.0, 5.0])
    device = CudaDevice(PLACE, host_time=False, clock=lambda: next(ticks))
    run = gpu.run
    for _ in range(3):
        device.seconds(run, 1, cold=False)
    assert held(gpu) == [0, int(1.5 * 0.01 * 2e9), int(0.1 * 2e9)]  # and never over 0.1 s


def test_contenders_that_take_turns_are_each_held_for_their_own_launches(gpu):
    """One launches in 1 ms, the other in 8: neither is held for what the other needs."""
    clock = Clock()
    device = CudaDevice(PLACE, host_time=False, clock=clock)

    def launches(seconds):
        def run():
            clock.now += seconds
            gpu.run()

        return run

    quick, slow = launches(0.001), launches(0.008)
    for calls in (1, 4):
        for run in (quick, slow):
            device.seconds(run, calls, cold=False)
    expected = [0, 0, 4 * 1.5 * 0.001 * 2e9, 4 * 1.5 * 0.008 * 2e9]
    assert held(gpu) == pytest.approx(expected, abs=1)


def test_host_time_counts_everything_between_two_synchronisations(gpu):
    ticks = iter([10.0, 10.6])
    device = CudaDevice(PLACE, host_time=True, clock=lambda: next(ticks))
    assert device.seconds(gpu.run, 3, cold=True) == pytest.approx(0.2)
    assert gpu.log == ["wait", "run", "run", "run", "wait"]


def test_peaks_are_over_what_was_held_before(gpu):
    device = CudaDevice(PLACE, host_time=False)
    assert device.peak(gpu.run) == Peak(allocated=40, reserved=64)
    assert gpu.log == ["wait", "empty", "reset", "run", "wait"]
    assert device.held() == 100


def test_telemetry_is_empty_where_nvml_is_missing_or_may_not_be_asked(gpu, monkeypatch):
    class NVMLError(Exception):
        pass

    def refuse(device):
        raise NVMLError("Insufficient Permissions")

    device = CudaDevice(PLACE, host_time=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert device.telemetry() == Telemetry()
    monkeypatch.setitem(sys.modules, "pynvml", types.SimpleNamespace(NVMLError=NVMLError))
    monkeypatch.setattr(torch.cuda, "clock_rate", refuse)
    assert device.telemetry() == Telemetry()
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda device: 1980)
    monkeypatch.setattr(torch.cuda, "temperature", lambda device: 55)
    assert device.telemetry() == Telemetry(clock_hz=1.98e9, temperature_c=55.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_times_counts_and_replays():
    device = CudaDevice(PLACE, host_time=False)
    x = torch.randn(2048, 2048, device=PLACE)
    seconds = device.seconds(lambda: x @ x, 5, cold=True)
    assert 1e-6 < seconds < 1
    assert device.peak(lambda: x @ x).allocated >= x.nbytes
    replay = device.graph(lambda: x @ x)
    assert device.seconds(replay, 5, cold=False) < 1
