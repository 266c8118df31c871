"""What this machine is and which versions are installed, for the head of every record."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from s2mlp_cli._version import __version__
from s2mlp_cli.cores import usable_cores
from s2mlp_cli.records.base import Environment
from s2mlp_cli.shifts import registry

PACKAGES = ("torch", "torchvision", "fvcore", "triton", "timm", "numpy", "torch-tb-profiler",
            "onnx", "onnxruntime", "openvino")  # fmt: skip


def environment() -> Environment:
    """Describe this machine, its devices and the packages that the numbers depend on."""
    cores = usable_cores()
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Environment(
        s2mlp=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        cpu_count=cores.count,
        cpu_count_why=cores.why,
        packages={name: version for name in PACKAGES if (version := _version(name))},
        cuda=torch.version.cuda,
        gpus=tuple(gpus),
        driver=_driver() if gpus else None,
    )


def _driver() -> str | None:
    """Return the version of NVIDIA's driver as its own tool tells it; None where it does not."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(told.stdout.split()), None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    """Return the processor's model name: Linux keeps it in a file, others in platform."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def available_shifts() -> dict[str, dict[str, str | None]]:
    """Return for every implementation of the shift and every device here: None, or why not."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return {
        name: {device: registry.get(name).unavailable(torch.device(device)) for device in devices}
        for name in registry.NAMES
    }
