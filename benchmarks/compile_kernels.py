"""Compile every Triton kernel ahead of time, without a GPU, as its launcher chooses it.

    python benchmarks/compile_kernels.py                    # all cards, bf16 and tf32: 3 minutes
    python benchmarks/compile_kernels.py --cards sm_90 --dtypes bf16 --models v2-medium
    python benchmarks/compile_kernels.py --write            # puts the table into DESIGN.md

The launchers run on fake CUDA tensors, and what they launch is caught: signatures and constants are
their own, with every tile of the autotuner that fits the card. The table says what the compiler
made of each kernel: registers, spills, shared memory, and the width of its memory accesses.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
import triton.language as tl
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction, MockTensor

from s2mlp_cli.models.s2mlp import SpatialShiftMixer
from s2mlp_cli.shifts import (
    fused_project,
    fused_triton,
    registry,
    triton_borders,
    triton_shift,
    triton_support,
)
from s2mlp_cli.specs import load_spec

DESIGN = Path(triton_shift.__file__).with_name("DESIGN.md")
BEGIN, END = "<!-- compiled: begin -->", "<!-- compiled: end -->"

# card -> (target, bytes of shared memory that one program can have).
CARDS = {
    "sm_80": (GPUTarget("cuda", 80, 32), 163 * 1024),
    "sm_90": (GPUTarget("cuda", 90, 32), 227 * 1024),
    "sm_100": (GPUTarget("cuda", 100, 32), 227 * 1024),
    "gfx942": (GPUTarget("hip", "gfx942", 64), 64 * 1024),
}
DTYPES = {"bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}
MODELS = ("v1-wide", "v2-small", "v2-medium")
BATCHES = (1, 256)
LAUNCHERS = (triton_shift, triton_borders, fused_triton, fused_project)


@dataclass
class Launch:
    """One kernel as its launcher called it."""

    kernel: JITFunction
    arguments: tuple[Any, ...]
    constants: dict[str, Any]
    tile: str = ""


@dataclass
class Compiled:
    """What the compiler made of one kernel.

    Attributes:
        registers: per thread.
        spilled: bytes per thread.
        shared: bytes per program.
        widths: bytes of the widest loads and stores of global memory, of all its accesses.
        products: matrix instructions.
    """

    kernel: str
    tile: str
    registers: int
    spilled: int
    shared: int
    widths: tuple[int, ...]
    products: tuple[str, ...]


@dataclass
class _FakeDriver:
    """Says that a card is there; nothing is ever launched on it."""

    card: str

    def get_current_device(self) -> int:
        return list(CARDS).index(self.card)  # kernels remember a target by its number

    def get_current_stream(self, device: object = None) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return CARDS[self.card][0]

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)


@contextmanager
def _caught(card: str, launches: list[Launch]) -> Iterator[None]:
    """Catch what is launched instead of running it."""
    _, shared = CARDS[card]

    def run(self: JITFunction, *arguments: Any, grid: Any, warmup: bool = False, **constants: Any):
        launches.append(Launch(self, arguments, constants))

    def tuned(self: Autotuner, *arguments: Any, grid: Any, warmup: bool = False, **constants: Any):
        named = dict(zip(self.arg_names, arguments, strict=False))
        for config in self.early_config_prune(self.configs, named, **constants):
            found = {**constants, **config.all_kwargs()}
            launches.append(Launch(self.fn, arguments, found, str(config.kwargs)))

    active = driver._active
    driver.set_active(_FakeDriver(card))
    with ExitStack() as stack:
        patched = [
            (JITFunction, "run", run),
            (Autotuner, "run", tuned),
            (torch.cuda, "get_device_name", lambda device=None: card),
            (fused_project, "shared_memory", lambda device: shared),
            *((launcher, "on_device", nullcontext) for launcher in LAUNCHERS),
        ]
        for owner, name, stand_in in patched:
            stack.enter_context(patch.object(owner, name, stand_in))
        yield
    driver._active = active


def launches(card: str, dtype: str, models: tuple[str, ...] = MODELS) -> list[Launch]:
    """Return every different launch that the maps of the models lead to, forward and backward."""
    found: list[Launch] = []
    torch.backends.cuda.matmul.fp32_precision = "tf32" if dtype == "tf32" else "ieee"
    with _caught(card, found), FakeTensorMode(), torch.no_grad():
        for name in models:
            spec = load_spec(name)
            for stage, size in zip(spec.stages, spec.maps(), strict=True):
                for batch in BATCHES:
                    _launch_all(spec.mixer, stage.dim, (batch, *size), DTYPES[dtype])
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    unique: dict[str, Launch] = {}
    for launch in found:
        unique.setdefault(_signature(launch), launch)
    return list(unique.values())


def _launch_all(mixer: Any, dim: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Call every launcher on a map of B,H,W and ``dim`` channels."""
    torch.set_default_dtype(dtype)
    with torch.device("cuda"):
        module = SpatialShiftMixer(dim, mixer, registry.get("slice"))
        torch.set_default_dtype(torch.float32)
        x = torch.empty(*shape, dim, dtype=dtype)
        y = torch.empty(*shape, len(mixer.splits) * dim, dtype=dtype)
        weights = torch.empty(shape[0], len(mixer.splits), dim)
    triton_shift._launch(triton_shift._shift_kernel, x, mixer.splits[0])
    triton_shift._launch(triton_shift._unshift_kernel, x, mixer.splits[0], SUM=tl.float32)
    fused_triton.mix_fused_triton(x, module)
    fused_project.mix_fused_project(x, module)
    if mixer.fusion != "none":
        context = type("Context", (), {"saved_tensors": (y, weights), "splits": mixer.splits})
        fused_triton.WeightedShiftSum.backward.__wrapped__(context, x)


def _signature(launch: Launch) -> str:
    shapes = [
        (str(a.dtype), tuple(a.shape)[1:]) if isinstance(a, torch.Tensor) else a % 16 == 0
        for a in launch.arguments
        if a is not None
    ]
    return f"{launch.kernel.fn.__name__} {shapes} {sorted(map(str, launch.constants.items()))}"


def compiled(launch: Launch, card: str) -> Compiled:
    """Compile one launch for a card.

    Raises:
        Exception: whatever the compiler raises.
    """
    driver.set_active(_FakeDriver(card))
    mocked = [
        MockTensor(a.dtype, list(a.shape)) if isinstance(a, torch.Tensor) else a
        for a in launch.arguments
    ]
    kernel = launch.kernel.run(*mocked, grid=(1,), warmup=True, **launch.constants)
    name = launch.kernel.fn.__name__.strip("_").removesuffix("_kernel")
    read = _of_amd if card.startswith("gfx") else _of_nvidia
    registers, spilled, widths, products = read(kernel)
    return Compiled(
        name, launch.tile, registers, spilled, int(kernel.metadata.shared), widths, products
    )


def _of_nvidia(kernel: Any) -> tuple[int, int, tuple[int, ...], tuple[str, ...]]:
    """Read registers and spills from the binary, the rest from PTX."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        said = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    # What is spilled goes to the stack; these kernels put nothing else there.
    usage = re.search(r"REG:(\d+).*?STACK:(\d+)", said.stdout)
    assert usage is not None, said.stdout + said.stderr
    ptx = kernel.asm["ptx"]
    widths = [
        int(vector or 1) * int(bits) // 8
        for vector, bits in re.findall(r"(?:ld|st)\.global[\w:.]*?(?:\.v(\d))?\.[bfus](\d+)", ptx)
    ]
    copies = re.findall(r"cp\.async\.c[ag]\.shared\.global \[[^\]]*\], \[[^\]]*\], (\w+)", ptx)
    widths += [int(size, 0) for size in copies]
    products = re.findall(r"wgmma\.mma_async|mma\.sync|tcgen05\.mma", ptx)
    return int(usage[1]), int(usage[2]), tuple(widths), tuple(sorted(set(products)))


def _of_amd(kernel: Any) -> tuple[int, int, tuple[int, ...], tuple[str, ...]]:
    text = kernel.asm["amdgcn"]

    def fact(name: str) -> int:
        found = re.search(rf"\.{name}:\s*(\d+)", text)
        return int(found[1]) if found else 0

    sizes = {"dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4, "ushort": 2, "short": 2}
    found = re.findall(
        r"(?:global|buffer)_(?:load|store)_(?:\w*?)(dwordx\d|dword|ushort|short)", text
    )
    products = sorted(set(re.findall(r"v_mfma_\w+", text)))
    return (
        fact("vgpr_count"),
        fact("vgpr_spill_count"),
        tuple(sizes[word] for word in found),
        tuple(products),
    )


def table(cards: list[str], dtypes: list[str], models: tuple[str, ...]) -> str:
    """Compile everything; print and return a Markdown table of a row per card, dtype and kernel."""
    lines = [
        "| card | dtype | kernel | compiled | registers | spilled B | shared KiB (limit) | "
        "accesses B | products |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for card, dtype in product(cards, dtypes):
        by_kernel: dict[str, list[Compiled]] = {}
        for launch in launches(card, dtype, models):
            found = compiled(launch, card)
            by_kernel.setdefault(found.kernel, []).append(found)
        for kernel, all_of in by_kernel.items():
            lines.append(_row(card, dtype, kernel, all_of))
            print(lines[-1], flush=True)
    return "\n".join(lines)


def _row(card: str, dtype: str, kernel: str, found: list[Compiled]) -> str:
    registers = [each.registers for each in found]
    widest = [max(each.widths) for each in found if each.widths]
    return " | ".join(
        (
            f"| {card}",
            dtype,
            kernel,
            str(len(found)),
            f"{min(registers)}-{max(registers)}",
            str(max(each.spilled for each in found)),
            f"{max(each.shared for each in found) / 1024:.0f} ({CARDS[card][1] // 1024})",
            "-".join(map(str, dict.fromkeys((min(widest), max(widest))))) if widest else "",
            ", ".join(dict.fromkeys(p for each in found for p in each.products)) + " |",
        )
    )


def main() -> None:
    """Compile, print the table, and with --write put it into DESIGN.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", default=",".join(CARDS))
    parser.add_argument("--dtypes", default="bf16,tf32")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    made = table(asked.cards.split(","), asked.dtypes.split(","), tuple(asked.models.split(",")))
    if asked.write:
        before, _, rest = DESIGN.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        command = "python benchmarks/compile_kernels.py --write"
        versions = f"torch {torch.__version__}, triton {triton.__version__}"
        DESIGN.write_text(f"{before}{BEGIN}\n`{command}` ({versions}):\n\n{made}\n{END}{after}")


if __name__ == "__main__":
    assert not triton_support.interpreted(), "unset TRITON_INTERPRET: nothing would be compiled"
    main()
