import subprocess
from types import SimpleNamespace

import pytest

from s2mlp_cli.measure import environment as module


@pytest.mark.parametrize(
    ("answer", "driver"),
    [
        ("580.159.03\n580.159.03\n", "580.159.03"),
        ("", None),
        (FileNotFoundError(), None),
        (subprocess.CalledProcessError(9, "nvidia-smi"), None),
        (subprocess.TimeoutExpired("nvidia-smi", 20), None),
    ],
)
def test_the_driver_is_asked_of_its_own_tool_where_there_is_a_gpu(monkeypatch, answer, driver):
    def run(words, **how):
        assert words[:2] == ["nvidia-smi", "--query-gpu=driver_version"]
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(words, 0, stdout=answer)

    stand_in = SimpleNamespace(run=run, SubprocessError=subprocess.SubprocessError)
    monkeypatch.setattr(module, "subprocess", stand_in)
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(module.torch.cuda, "get_device_name", lambda index: "NVIDIA H200")
    assert module.environment().driver == driver
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: 0)
    assert module.environment().driver is None
