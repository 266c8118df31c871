"""What differs between devices: time, memory, graphs, clocks; and the roofline of each.

Everything else in this folder is written against :class:`Device`, so that tests run it with a fake.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.torch_support import DTYPES, is_out_of_memory, precision, target
from s2mlp_cli.records.profile import Roofline

Run = Callable[[], object]

# Over the L2 cache of any GPU (tens of MiB) by far.
_FLUSH_BYTES = 512 * 2**20

# A clock that GPUs do not exceed by much: the queue is held at least about as long as asked.
_CYCLES_PER_SECOND = 2e9

_LONGEST_HOLD_S = 0.1

# Bytes of the tensor whose copy shows the bandwidth: far over the caches.
_COPY_BYTES = {"cpu": 128 * 2**20, "cuda": 2**30}

# Rows and columns of the square matrices: large enough to reach the rate, small enough to wait.
_MATMUL_SIDE = {"cpu": 1536, "cuda": 8192}

# A GPU's power limit answers within some tens of milliseconds: a shorter burst is too fast to be
# true for long. The first samples are there to reach that state.
_ROOFLINE_SECONDS = 0.05
_WARM_UP_SAMPLES = 5
_SAMPLES = 10


@dataclass(frozen=True)
class Peak:
    """Bytes by which one call raised the allocator's two peaks over what was held before it."""

    allocated: int
    reserved: int


@dataclass(frozen=True)
class Telemetry:
    """The state of the hardware at one moment; None where it cannot be read."""

    clock_hz: float | None = None
    temperature_c: float | None = None


class Device(Protocol):
    """What a device must offer to be measured."""

    @property
    def torch_device(self) -> torch.device:
        """Where tensors live."""

    def seconds(self, run: Run, calls: int, *, cold: bool) -> float:
        """Return the mean seconds of one of ``calls`` calls; ``cold``: with the cache flushed."""

    def held(self) -> int | None:
        """Return the bytes that tensors hold now; None where nobody counts."""

    def peak(self, run: Run) -> Peak | None:
        """Run once and return how far memory rose; None where nobody counts."""

    def graph(self, run: Run) -> Run:
        """Return a call that replays ``run`` as one CUDA graph."""

    def telemetry(self) -> Telemetry:
        """Read clock and temperature."""


@dataclass
class CpuDevice:
    """Times with ``perf_counter`` on the threads that torch was given."""

    torch_device: ClassVar = torch.device("cpu")

    clock: Callable[[], float] = time.perf_counter

    def seconds(self, run: Run, calls: int, *, cold: bool) -> float:
        start = self.clock()  # there is no portable flush of a CPU's caches
        for _ in range(calls):
            run()
        return (self.clock() - start) / calls

    def held(self) -> None:
        return None  # a CPU allocator does not count

    def peak(self, run: Run) -> None:
        return None  # nor does it keep a peak: :mod:`measure.profiling.memory` asks a child

    def graph(self, run: Run) -> Run:
        raise UnavailableError("--cuda-graph needs a CUDA device; leave it out on a CPU")

    def telemetry(self) -> Telemetry:
        """Return the present clock of the first core where Linux tells it."""
        try:
            kilohertz = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").read_text()
        except OSError:
            return Telemetry()
        return Telemetry(clock_hz=float(kilohertz) * 1e3)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


@dataclass
class CudaDevice:
    """Times with events around work that was queued ahead, so that launch gaps do not enter.

    With ``host_time`` the clock of the host is read instead, launches included.
    """

    torch_device: torch.device
    host_time: bool
    clock: Callable[[], float] = time.perf_counter
    _launch_s: WeakKeyDictionary[Run, float] = field(default_factory=WeakKeyDictionary)
    _flush: torch.Tensor | None = None
    _pool: Any = None

    def seconds(self, run: Run, calls: int, *, cold: bool) -> float:
        torch.cuda.synchronize(self.torch_device)
        if self.host_time:
            return self._host_seconds(run, calls, cold=cold)
        self._hold_queue(self._launch_s.get(run, 0.0) * calls)
        pairs = []
        launching = self.clock()
        for _ in range(calls):
            if cold:
                self._flush_cache()
            start, end = (_event() for _ in range(2))
            start.record()
            run()
            end.record()
            pairs.append((start, end))
        launch_s = (self.clock() - launching) / calls
        # Over about a thousand launches the queue is full and the host waits for the hold: that
        # is no launching, and must not make the next hold longer. The least is the true one.
        self._launch_s[run] = min(launch_s, self._launch_s.get(run, launch_s))
        torch.cuda.synchronize(self.torch_device)
        milliseconds: float = sum(start.elapsed_time(end) for start, end in pairs)
        return milliseconds / calls / 1e3

    def _host_seconds(self, run: Run, calls: int, *, cold: bool) -> float:
        spent = 0.0
        for repeats in [1] * calls if cold else [calls]:
            if cold:
                self._flush_cache()
                torch.cuda.synchronize(self.torch_device)
            start = self.clock()
            for _ in range(repeats):
                run()
            torch.cuda.synchronize(self.torch_device)
            spent += self.clock() - start
        return spent / calls

    def _hold_queue(self, launch_s: float) -> None:
        """Keep the device busy while the host launches, as long as that took the last time.

        Contenders take turns and launch between one kernel and hundreds: each has its own time.
        """
        hold = min(1.5 * launch_s, _LONGEST_HOLD_S)
        torch.cuda._sleep(int(hold * _CYCLES_PER_SECOND))  # type: ignore[no-untyped-call]

    def _flush_cache(self) -> None:
        """Fill the cache with other data by reading it.

        Written data would have to be written back, within the call that is timed.
        """
        if self._flush is None:
            self._flush = torch.zeros(
                _FLUSH_BYTES // 4, dtype=torch.float32, device=self.torch_device
            )
        self._flush.sum()

    def held(self) -> int:
        return torch.cuda.memory_allocated(self.torch_device)

    def peak(self, run: Run) -> Peak:
        torch.cuda.synchronize(self.torch_device)
        torch.cuda.empty_cache()
        allocated = torch.cuda.memory_allocated(self.torch_device)
        reserved = torch.cuda.memory_reserved(self.torch_device)
        torch.cuda.reset_peak_memory_stats(self.torch_device)
        run()
        torch.cuda.synchronize(self.torch_device)
        return Peak(
            torch.cuda.max_memory_allocated(self.torch_device) - allocated,
            torch.cuda.max_memory_reserved(self.torch_device) - reserved,
        )

    def graph(self, run: Run) -> Run:
        """Capture ``run`` after three warm-up calls on a side stream, and return its replay.

        All graphs share one pool of memory: they are replayed in turn, and none reads what another
        left. A capture that fails leaves its own stream current (torch ends the capture before it
        leaves the stream), on which everything after it would run.
        """
        current = torch.cuda.current_stream(self.torch_device)
        side = torch.cuda.Stream(self.torch_device)  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        current.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                run()
        finally:
            torch.cuda.set_stream(current)
        return graph.replay

    def telemetry(self) -> Telemetry:
        """Read clock and temperature through NVML where its Python binding is installed."""
        try:
            from pynvml import NVMLError
        except ImportError:
            return Telemetry()
        try:
            megahertz = torch.cuda.clock_rate(self.torch_device)
            return Telemetry(megahertz * 1e6, float(torch.cuda.temperature(self.torch_device)))
        except (NVMLError, RuntimeError):  # a container or a MIG slice may not be allowed to ask
            return Telemetry()


def open_device(name: str | None = None, *, host_time: bool = False) -> Device:
    """Return the device called ``name``: ``cpu``, ``cuda`` or ``cuda:1``.

    None means the GPU if there is one, else the CPU.

    Raises:
        UnavailableError: there is no such device here; the sentence says which there are.
    """
    place = target(name)
    if place.type == "cpu":
        return CpuDevice()
    return CudaDevice(place, host_time=host_time)


def measure_roofline(device: Device, dtype: str) -> Roofline:
    """Measure what this device reaches at most in this dtype, on the threads that torch has now.

    Copy bandwidth (bytes read and written per second) and the rate of one square matrix product (2
    operations per MAC), each None where the device has no memory for it.
    """
    place = device.torch_device
    size, side = _COPY_BYTES[place.type], _MATMUL_SIDE[place.type]

    def copy() -> Run:
        # Into memory that exists already: a clone without its allocation, which on a CPU would
        # mostly measure the page faults of fresh memory.
        source = torch.ones(size, dtype=torch.uint8, device=place)
        target = torch.zeros_like(source)
        return lambda: target.copy_(source)

    def product() -> Run:
        left, right = (torch.randn(side, side, device=place).to(DTYPES[dtype]) for _ in range(2))
        return lambda: left @ right

    with torch.inference_mode(), precision(dtype):
        return Roofline(
            device=str(place),
            dtype=dtype,
            threads=torch.get_num_threads(),
            copy_bytes_per_s=_rate(device, 2 * size, copy),
            matmul_flops_per_s=_rate(device, 2 * side**3, product),
        )


def _rate(device: Device, work: int, prepare: Callable[[], Run]) -> float | None:
    """Return the most work per second of several samples: what the device can do undisturbed."""
    try:
        run = prepare()
        once = device.seconds(run, 1, cold=False)
        calls = math.ceil(_ROOFLINE_SECONDS / once) if 0 < once < _ROOFLINE_SECONDS else 1
        for _ in range(_WARM_UP_SAMPLES if calls > 1 else 0):
            device.seconds(run, calls, cold=False)
        return work / min(device.seconds(run, calls, cold=False) for _ in range(_SAMPLES))
    except RuntimeError as error:
        if is_out_of_memory(error):
            return None
        raise
