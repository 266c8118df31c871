"""How the processes of one machine share it."""

import pytest

from s2mlp_cli.cores import Cores
from s2mlp_cli.measure.validating import processes


@pytest.mark.parametrize(
    ("cores", "count", "share", "workers"),
    [(4, 1, 4, 4), (64, 1, 64, 16), (64, 8, 8, 8), (2, 3, 1, 1)],
)
def test_processes_share_the_cores(cores, count, share, workers, monkeypatch):
    monkeypatch.setattr(processes, "usable_cores", lambda: Cores(cores, "made up"))
    own = processes.Processes(count=count, local_count=count)
    assert (own.cores, own.workers) == (share, workers)
