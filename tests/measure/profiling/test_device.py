"""Time, memory and graphs of a device; of a GPU with a stand-in for torch.cuda."""

import contextlib
import sys
import types

import pytest
import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling import device as devices
from s2mlp_cli.measure.profiling.device import (
    _SAMPLES,
    CpuDevice,
    CudaDevice,
    Peak,
    Telemetry,
    open_device,
)
from s2mlp_cli.records.profile import Roofline
from tests.measure.fakes import Clock, FakeDevice


def test_a_cpu_sample_is_the_mean_of_its_calls():
    ticks = iter([10.0, 16.0])
    calls = []
    device = CpuDevice(clock=lambda: next(ticks))
    assert device.seconds(lambda: calls.append(1), 3, cold=True) == 2.0
    assert len(calls) == 3


def test_a_cpu_counts_no_memory_and_has_no_graphs():
    device = CpuDevice()
    assert device.held() is None
    assert device.peak(lambda: None) is None
    with pytest.raises(UnavailableError, match="needs a CUDA device"):
        device.graph(lambda: None)
    assert isinstance(device.telemetry(), Telemetry)


def test_devices_that_are_not_there_are_named_with_those_that_are():
    assert open_device("cpu").torch_device == torch.device("cpu")
    for name in ("cuda:99", "tpu", "CPU "):
        with pytest.raises(UnavailableError, match=f"no device '{name}' here.*use --device cpu"):
            open_device(name)


PLACE = torch.device("cuda", 0)


class Gpu:
    """A GPU on which a call takes 2 ms, a flush 5 ms, and which notes what it is asked to do."""

    def __init__(self, monkeypatch):
        self.now_ms = 0.0
        self.log = []
        self.allocated, self.reserved = 100, 1000
        monkeypatch.setattr(devices, "_event", lambda: Event(self))
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
    for launching, hold in ((0.01, 1.5 * 0.01), (2.0, 0.1)):  # and never over 0.1 s
        ticks = iter([0.0, launching, 5.0, 5.0 + launching])
        device = CudaDevice(PLACE, host_time=False, clock=lambda: next(ticks))  # noqa: B023
        run = gpu.run
        for _ in range(2):
            device.seconds(run, 1, cold=False)
        assert held(gpu)[-2:] == [0, int(hold * 2e9)]


def test_a_full_queue_that_waits_for_the_hold_makes_the_next_hold_no_longer(gpu, monkeypatch):
    """After a thousand launches or so the host is blocked until the hold is over."""
    clock = Clock()
    device = CudaDevice(PLACE, host_time=False, clock=clock)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: gpu.log.append(("hold", cycles)))

    def run():
        gpu.run()
        clock.now += max(0.01, held(gpu)[-1] / 2e9)

    for _ in range(5):
        device.seconds(run, 1, cold=False)
    assert held(gpu) == [0, *[int(1.5 * 0.01 * 2e9)] * 4]


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
    assert device.seconds(gpu.run, 3, cold=False) == pytest.approx(0.2)
    assert gpu.log == ["wait", "run", "run", "run", "wait"]


def test_host_time_of_a_cold_call_flushes_before_each_and_leaves_the_flush_out(gpu, monkeypatch):
    clock = Clock()
    device = CudaDevice(PLACE, host_time=True, clock=clock)

    def passing(seconds, what):
        clock.now += seconds
        what()

    monkeypatch.setattr(device, "_flush_cache", lambda: passing(5, gpu.flush))
    assert device.seconds(lambda: passing(0.25, gpu.run), 2, cold=True) == pytest.approx(0.25)
    assert gpu.log == ["wait", *["flush", "wait", "run", "wait"] * 2]


def test_the_cache_is_flushed_by_reading_which_leaves_nothing_to_write_back(monkeypatch):
    monkeypatch.setattr(devices, "_FLUSH_BYTES", 4096)
    device = CudaDevice(torch.device("cpu"), host_time=False)
    device._flush_cache()
    written = device._flush._version
    device._flush_cache()
    assert device._flush._version == written


class Stream:
    def wait_stream(self, other):
        pass


def test_graphs_share_one_pool_and_a_failed_capture_leaves_the_stream_as_it_was(monkeypatch):
    """torch ends the capture, which raises, before it leaves the capture's stream."""
    outer, used = Stream(), []
    now = [outer]

    class Capture:
        def __init__(self, graph, pool):
            used.append(pool)

        def __enter__(self):
            now[0] = Stream()

        def __exit__(self, kind, error, traceback):
            if kind:
                raise RuntimeError("operation failed due to a previous error during capture")
            now[0] = outer

    class Graph:
        def replay(self):
            pass

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: now[0])
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: now.__setitem__(0, stream))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: ("pool", len(used)))
    device = CudaDevice(PLACE, host_time=False)
    device.graph(lambda: None)
    calls = iter(range(10))

    def fail():
        if next(calls) == 3:  # after the warm-up
            raise RuntimeError("not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="during capture"):
        device.graph(fail)
    assert now[0] is outer
    assert used == [("pool", 0)] * 2


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_times_counts_and_replays():
    device = CudaDevice(PLACE, host_time=False)
    x = torch.randn(2048, 2048, device=PLACE)
    seconds = device.seconds(lambda: x @ x, 5, cold=True)
    assert 1e-6 < seconds < 1
    assert device.peak(lambda: x @ x).allocated >= x.nbytes
    replay = device.graph(lambda: x @ x)
    assert device.seconds(replay, 5, cold=False) < 1


@pytest.fixture
def roofline(monkeypatch):
    """Return the roofline of a copy of 100 bytes and a product of 10x10 matrices."""

    def measure(device, dtype="fp32", size=100, side=10):
        monkeypatch.setattr(devices, "_COPY_BYTES", {"cpu": size})
        monkeypatch.setattr(devices, "_MATMUL_SIDE", {"cpu": side})
        return devices.measure_roofline(device, dtype)

    return measure


def test_a_copy_is_a_read_and_a_write_of_the_bytes_and_a_product_two_cubes(roofline):
    assert roofline(FakeDevice(Clock(), lambda run: 0.5), "bf16") == Roofline(
        device="cpu",
        dtype="bf16",
        threads=torch.get_num_threads(),
        copy_bytes_per_s=2 * 100 / 0.5,
        matmul_flops_per_s=2 * 10**3 / 0.5,
    )


def test_the_best_of_the_samples_counts_and_the_first_call_does_not(roofline):
    times = iter(2 * [0.1, *[8.0] * (_SAMPLES - 1), 1.0])
    device = FakeDevice(Clock(), lambda run: next(times))
    assert roofline(device).copy_bytes_per_s == pytest.approx(200)


def test_what_does_not_fit_is_unknown(roofline):
    found = roofline(FakeDevice(Clock()), size=2**50, side=2**25)
    assert (found.copy_bytes_per_s, found.matmul_flops_per_s) == (None, None)


def test_a_roofline_is_no_burst_that_the_power_limit_has_not_seen(roofline):
    """Samples of at least 50 ms, the first of which only warm the card up."""
    seen = []

    class Burst(FakeDevice):
        def seconds(self, run, calls, *, cold):
            seen.append(calls)
            return 0.001 if len(seen) < 5 else 0.002

    assert roofline(Burst(Clock())).copy_bytes_per_s == pytest.approx(200 / 0.002)
    assert set(seen[1:16]) == {50}
