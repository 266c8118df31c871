"""How many CPU cores this process may use, and what decided it.

Imported with the package, before torch: with OMP_PROC_BIND set, loading torch binds this thread to
one core, and the affinity that can be asked for is that of the thread from then on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Cores:
    """A number of cores, and in words what decided it."""

    count: int
    why: str


# The cores that this thread may run on; None where the system does not tell.
_ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
_BOUND = "torch" in sys.modules and os.environ.get("OMP_PROC_BIND", "false").lower() != "false"


def usable_cores() -> Cores:
    """Return the cores that a container, a batch system or a quota leave to this process."""
    present = os.cpu_count() or 1
    cores = Cores(present, "cores of the machine")
    if _ALLOWED is not None and present > _ALLOWED:
        bound = "; torch was imported first and OMP_PROC_BIND is set" if _BOUND else ""
        cores = Cores(_ALLOWED, f"CPU affinity, of {present} cores{bound}")
    quota = cpu_quota()
    if quota is not None and quota < cores.count:
        # More threads than the quota allows are stopped for a part of each period.
        whole = max(int(quota), 1)
        cores = Cores(whole, f"CPU quota of the cgroup: {quota:.3g} of {cores.count} cores")
    return cores


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute on so many CPU threads inside this."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cpu_quota(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float | None:
    """Return how many cores the cgroups (version 1 or 2) of this process grant; None: no limit."""
    try:
        groups = membership.read_text().splitlines()
    except OSError:
        return None
    return min((each for line in groups for each in _quotas(line, cgroups)), default=None)


def _quotas(line: str, cgroups: Path) -> Iterator[float]:
    """Yield the quotas of one group and of those above it.

    In a container the files of its own group may be those of the root, so that the path of the
    group leads nowhere.
    """
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return
    roots = (cgroups / controllers, cgroups / "cpu") if controllers else (cgroups,)
    root = next((each for each in roots if each.is_dir()), roots[0])
    group = root / path.lstrip("/")
    # "50000 100000": a quota of microseconds in each period.
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
    for folder in (group, *group.parents):
        if folder.is_relative_to(root):
            try:
                words = " ".join((folder / name).read_text() for name in names).split()
            except OSError:
                continue
            if len(words) == 2 and words[0].isdecimal():  # "max" and -1: no limit
                yield float(words[0]) / float(words[1])
