import dataclasses

import pytest

from s2mlp_cli.measure.profiling.memory import child_memory, peak_resident_bytes, resident_bytes
from s2mlp_cli.measure.profiling.workloads import Case


def test_a_child_tells_what_its_own_workload_needs(tiny):
    small = Case(tiny, "model", None, "cpu", "fp32", 1)
    large = dataclasses.replace(small, batch_size=2048)
    own_peak = peak_resident_bytes()
    (small_peak, small_added), (large_peak, large_added) = (
        child_memory(case, "slice", 1) for case in (small, large)
    )
    images = 2048 * 3 * 24 * 24 * 4
    assert large_peak > small_peak + images
    assert large_added > small_added
    assert 2**20 < small_peak < own_peak + 2**30


def test_a_child_that_runs_out_of_memory_is_no_number(tiny):
    assert child_memory(Case(tiny, "op", 0, "cpu", "fp32", 2**36), "slice", 1) is None


@pytest.mark.parametrize("fault", [EOFError, ConnectionRefusedError])
def test_a_server_that_was_killed_is_no_number(tiny, monkeypatch, fault):
    def dead(descriptors):
        raise fault

    monkeypatch.setattr("multiprocessing.forkserver.connect_to_new_process", dead)
    assert child_memory(Case(tiny, "op", 0, "cpu", "fp32", 1), "slice", 1) is None


def test_this_process_has_memory():
    """Linux counts both in batches of pages per thread, so that they may cross by a little."""
    assert 2**20 < resident_bytes() < 1.01 * peak_resident_bytes()
