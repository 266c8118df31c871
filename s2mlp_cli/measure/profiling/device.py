"""The one narrow interface to what differs between devices: time, memory, graphs, clocks.

:class:`CpuDevice` stands here; its CUDA twin is :mod:`s2mlp_cli.measure.profiling.cuda`. Everything
else on this floor is written against :class:`Device`, so that tests run it with their own fake.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.target import target

Run = Callable[[], object]


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
        ...

    def seconds(self, run: Run, calls: int, *, cold: bool) -> float:
        """Return the mean seconds of one of ``calls`` calls; ``cold``: with the cache flushed."""
        ...

    def held(self) -> int | None:
        """Return the bytes that tensors hold now; None where nobody counts."""
        ...

    def peak(self, run: Run) -> Peak | None:
        """Run once and return how far memory rose; None where nobody counts."""
        ...

    def graph(self, run: Run) -> Run:
        """Return a call that replays ``run`` as one CUDA graph."""
        ...

    def telemetry(self) -> Telemetry:
        """Read clock and temperature."""
        ...


class CpuDevice:
    """Times with ``perf_counter`` on the threads that torch was given."""

    torch_device = torch.device("cpu")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock

    def seconds(self, run: Run, calls: int, *, cold: bool) -> float:
        """Return the mean seconds of a call. There is no portable flush of a CPU's caches."""
        start = self._clock()
        for _ in range(calls):
            run()
        return (self._clock() - start) / calls

    def held(self) -> None:
        """Return None: a CPU allocator does not count."""

    def peak(self, run: Run) -> None:
        """Return None: a CPU allocator keeps no peak (:mod:`measure.memory` asks a child)."""

    def graph(self, run: Run) -> Run:
        """Refuse: graphs are CUDA's."""
        raise UnavailableError("--cuda-graph needs a CUDA device; leave it out on a CPU")

    def telemetry(self) -> Telemetry:
        """Return the present clock of the first core where Linux tells it."""
        try:
            kilohertz = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq").read_text()
        except OSError:
            return Telemetry()
        return Telemetry(clock_hz=float(kilohertz) * 1e3)


def open_device(name: str | None = None, *, host_time: bool = False) -> Device:
    """Return the device called ``name``: ``cpu``, ``cuda`` or ``cuda:1``.

    None means the GPU if there is one, else the CPU.

    Raises:
        UnavailableError: there is no such device here; the sentence says which there are.
    """
    place = target(name)
    if place.type == "cpu":
        return CpuDevice()
    from s2mlp_cli.measure.profiling.cuda import CudaDevice

    return CudaDevice(place, host_time=host_time)
