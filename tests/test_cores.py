"""How many cores are there to use: affinity, cgroups of both versions, and torch's own binding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s2mlp_cli import cores
from s2mlp_cli.cores import Cores, cpu_quota, usable_cores

ROOT = Path(__file__).parent.parent


def cgroup(folder, files):
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    membership = folder / "membership"
    return folder, membership


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4.0),
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/not/mounted/here\n", {"cpu.max": "300000 100000\n"}, 3.0),
        (
            "4:cpu,cpuacct:/job\n0::/\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000",
             "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        (
            "4:cpu:/job\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        ("7:memory:/job\n", {"memory/job/cpu.max": "100000 100000"}, None),
        ("0::/\n", {}, None),
    ],
)  # fmt: skip
def test_the_quota_of_a_cgroup_of_either_version_or_of_one_above_it(tmp_path, groups, files, quota):
    folder, membership = cgroup(tmp_path, files)
    membership.write_text(groups)
    assert cpu_quota(folder, membership) == quota


def test_a_system_without_cgroups_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("allowed", "quota", "found"),
    [
        (None, None, Cores(8, "cores of the machine")),
        (8, 16.0, Cores(8, "cores of the machine")),
        (3, None, Cores(3, "CPU affinity, of 8 cores")),
        (3, 1.5, Cores(1, "CPU quota of the cgroup: 1.5 of 3 cores")),
        (8, 0.25, Cores(1, "CPU quota of the cgroup: 0.25 of 8 cores")),
    ],
)
def test_the_least_decides_and_is_named(monkeypatch, allowed, quota, found):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cores, "_ALLOWED", allowed)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert usable_cores() == found


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs CPU affinity")
def test_cores_are_read_before_torch_binds_its_threads():
    script = (
        "import s2mlp_cli, torch, os; from s2mlp_cli.cores import usable_cores\n"
        "torch.ones(1000, 1000) @ torch.ones(1000, 1000); print(usable_cores().count)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_PROC_BIND": "true"}
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert int(told.stdout) == usable_cores().count
