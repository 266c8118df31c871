"""Benchmarks time nothing that computes something else."""

from __future__ import annotations

import torch

from benchmarks.fused_mixers import rounds_of
from s2mlp_cli.measure.profiling.device import CpuDevice


def test_a_wrong_contender_is_left_out_and_one_that_is_wrong_by_design_is_timed(capsys):
    x = torch.arange(6.0)
    runs = {
        "slice": lambda: x + 1,
        "fused": lambda: x + 1.0001,
        "fused-triton": lambda: x + 2,
        "none": lambda: x,
    }
    samples = rounds_of(CpuDevice(), runs, rounds=3)
    assert list(samples) == ["slice", "fused", "none"]
    assert {len(own) for own in samples.values()} == {3}
    assert "left out: fused-triton: off the baseline by 0.17" in capsys.readouterr().err
