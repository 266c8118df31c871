import pytest
import torch

from s2mlp_cli.measure.profiling.limits import (
    _SAMPLES,
    copy_bandwidth,
    matmul_rate,
    measure_limits,
)
from tests.measure.fakes import Clock, FakeDevice


def test_a_copy_is_a_read_and_a_write_of_the_bytes():
    device = FakeDevice(Clock(), lambda run: 0.5)
    assert copy_bandwidth(device, 1000) == pytest.approx(2 * 1000 / 0.5)


def test_a_product_of_square_matrices_is_two_cubes():
    device = FakeDevice(Clock(), lambda run: 0.25)
    assert matmul_rate(device, "bf16", 16) == pytest.approx(2 * 16**3 / 0.25)


def test_the_best_of_the_samples_counts_and_the_first_call_does_not():
    times = iter([0.1, *[8.0] * (_SAMPLES - 1), 1.0])
    assert copy_bandwidth(FakeDevice(Clock(), lambda run: next(times)), 100) == pytest.approx(200)


def test_what_does_not_fit_is_unknown():
    assert copy_bandwidth(FakeDevice(Clock()), 2**50) is None
    assert matmul_rate(FakeDevice(Clock()), "fp32", 2**25) is None


def test_limits_name_their_device_and_dtype(monkeypatch):
    monkeypatch.setattr("s2mlp_cli.measure.profiling.limits._COPY_BYTES", {"cpu": 100})
    monkeypatch.setattr("s2mlp_cli.measure.profiling.limits._MATMUL_SIDE", {"cpu": 10})
    limit = measure_limits(FakeDevice(Clock(), lambda run: 1.0), "fp32")
    assert limit.model_dump() == {
        "device": "cpu",
        "dtype": "fp32",
        "threads": torch.get_num_threads(),
        "copy_bytes_per_s": 200.0,
        "matmul_flops_per_s": 2000.0,
    }
