"""`s2mlp env`, on this machine and as it would be on one with two GPUs."""

from click.testing import CliRunner

from s2mlp_cli.cli import group
from s2mlp_cli.records.base import Environment
from s2mlp_cli.shifts import registry
from s2mlp_cli.views.environment import environment_view
from tests.views import shown

EXPECTED = """\
A processor, 16 cores; NVIDIA H200, NVIDIA H200

What           Version
s2mlp          0.1.0
python         3.12.1 on Linux-x86_64
torch          2.11.0
CUDA of torch  13.0
NVIDIA driver  580.159.03

Shifts that run here
slice, cpu: yes
slice, triton, cuda: yes
triton, cpu: no: Triton kernels run on cuda, not
on cpu
"""


def test_each_shift_runs_on_each_device_or_says_why_not():
    environment = Environment(
        s2mlp="0.1.0",
        python="3.12.1",
        platform="Linux-x86_64",
        cpu="A processor",
        cpu_count=16,
        packages={"torch": "2.11.0"},
        cuda="13.0",
        gpus=("NVIDIA H200", "NVIDIA H200"),
        driver="580.159.03",
    )
    shifts = {
        "slice": {"cpu": None, "cuda": None},
        "triton": {"cpu": "Triton kernels run on cuda, not on cpu", "cuda": None},
    }
    assert shown(environment_view(environment, shifts), 48) == EXPECTED


def test_this_machine_is_described():
    done = CliRunner().invoke(group, ["env"])
    assert done.exit_code == 0
    for name in (*registry.NAMES, "torch", "timm", "cores"):
        assert name in done.stdout
