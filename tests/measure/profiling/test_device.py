import pytest
import torch

from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.measure.profiling.device import CpuDevice, Telemetry, open_device


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
