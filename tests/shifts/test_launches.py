"""How kernels are launched on a GPU, without one: fake CUDA tensors, and stand-ins for kernels."""

from types import SimpleNamespace

import pytest
import torch
from mixers import FIRST, V2, make_mixer
from torch._subclasses.fake_tensor import FakeTensorMode

from s2mlp_cli.measure.torch_support import precision
from s2mlp_cli.shifts import fused_project, fused_triton, triton_borders, triton_shift
from s2mlp_cli.shifts.triton_support import on_device

SECOND = torch.device("cuda", 1)
KERNELS = {
    "_shift_kernel": triton_shift,
    "_unshift_kernel": triton_shift,
    "_border_kernel": triton_borders,
    "_weighted_kernel": fused_triton,
    "_weighted_backward_kernel": fused_triton,
    "_projected_kernel": fused_project,
}


def test_every_kernel_runs_on_the_card_of_its_tensors(monkeypatch):
    current, launched = [], []

    class Guard:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            current.append(self.device)

        def __exit__(self, *error):
            current.pop()

    class Kernel:
        def __init__(self, name):
            self.name = name

        def __getitem__(self, grid):
            return lambda *arguments, **constants: launched.append((self.name, *current))

    monkeypatch.setattr(torch.cuda, "device", Guard)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    for name, module in KERNELS.items():
        monkeypatch.setattr(module, name, Kernel(name))
    with FakeTensorMode(), torch.no_grad():
        x = torch.empty(2, 4, 3, 16, device=SECOND)
        y, weights = torch.empty(2, 4, 3, 48, device=SECOND), torch.empty(2, 3, 16, device=SECOND)
        mixer = make_mixer(16, V2, device=SECOND)
        triton_shift.shift_triton(x, FIRST)
        triton_shift.unshift(x, FIRST)
        fused_triton.mix_fused_triton(x, mixer)
        fused_project.mix_fused_project(x, mixer)
        context = SimpleNamespace(saved_tensors=(y, weights), splits=V2)
        fused_triton.WeightedShiftSum.backward.__wrapped__(context, x)
    assert set(launched) == {(name, SECOND) for name in KERNELS}


def test_no_card_is_chosen_for_a_tensor_that_is_on_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device", None)
    with on_device(torch.empty(1)):
        pass


@pytest.mark.parametrize(("dtype", "expected"), [("tf32", "tf32"), ("fp32", "ieee")])
def test_a_product_follows_the_newer_switch_which_can_always_be_read(dtype, expected):
    """Reading `allow_tf32` raises once a program has used the newer one."""
    with precision(dtype):
        single = SimpleNamespace(is_cuda=True, dtype=torch.float32)
        assert fused_project._precision(single) == expected
        half = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16)
        assert fused_project._precision(half) == "ieee"
        assert fused_project._precision(torch.empty(1)) == "ieee"
