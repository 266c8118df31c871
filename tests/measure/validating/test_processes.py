"""How the processes of one machine share it."""

import pytest

from s2mlp_cli.measure.validating.processes import choose_workers


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(4, 1, 4), (64, 1, 16), (64, 8, 8), (2, 3, 1)]
)
def test_processes_share_the_cores(cores, processes, workers):
    assert choose_workers(cores, processes) == workers
