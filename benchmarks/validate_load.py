"""Memory and images/s of ``s2mlp validate`` over a long run: 50,000 small JPEGs in one tar.

    python benchmarks/validate_load.py [--images 50000] [--workers 2] [-o FILE.json]

Validates through the same function as the command does, with progress kept, and notes the
resident memory of this program and of its workers every half second, and the images/s of each
tenth of the run. Needs /proc.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from s2mlp_cli.checkpoints.loading import load_checkpoint
from s2mlp_cli.data.detect import open_images
from s2mlp_cli.files import write_atomically
from s2mlp_cli.measure.environment import environment
from s2mlp_cli.measure.validating.plan import Settings
from s2mlp_cli.measure.validating.validate import validate
from s2mlp_cli.models import build_model
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.specs import load_spec

SPEC = """\
extends: v2-small
name: tiny
input_size: [32, 32]
stages:
  - {patch: 4, dim: 16, depth: 1, expansion: 2}
  - {patch: 2, dim: 32, depth: 1, expansion: 2}
"""
CLASSES = 1000
SIDE = 48


def write_tar(path: Path, images: int) -> None:
    """Write JPEGs of some 1.5 kB in class folders, each of its own pixels."""
    generator = np.random.default_rng(0)
    with tarfile.open(path, "w") as archive:
        for number in range(images):
            coarse = generator.integers(0, 256, (6, 6, 3), np.uint8)
            stream = io.BytesIO()
            Image.fromarray(coarse).resize((SIDE, SIDE), Image.BICUBIC).save(stream, "JPEG")
            entry = tarfile.TarInfo(f"{number % CLASSES:04d}/{number:06d}.JPEG")
            entry.size = stream.tell()
            stream.seek(0)
            archive.addfile(entry, stream)


def write_weights(folder: Path) -> None:
    """Write the spec of a tiny model, and random weights of it."""
    (folder / "tiny.yaml").write_text(SPEC)
    torch.manual_seed(0)
    torch.save(build_model(load_spec(str(folder / "tiny.yaml"))).state_dict(), folder / "tiny.pth")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process, 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def workers() -> list[int]:
    """Return the processes that this one started."""
    task = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return [int(pid) for pid in task.read_text().split()]


class Watch(threading.Thread):
    """Looks at the memory of this process and of its workers every half second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.images = 0
        self.samples: list[dict[str, float]] = []
        self.passed: list[tuple[float, int]] = []

    def run(self) -> None:
        """Sample until the validation has ended."""
        started = time.perf_counter()
        while not self.ended.wait(0.5):
            others = [resident_bytes(pid) for pid in workers()]
            self.samples.append(
                {
                    "seconds": round(time.perf_counter() - started, 1),
                    "images": self.images,
                    "program_bytes": resident_bytes(os.getpid()),
                    "workers_bytes": sum(others),
                }
            )

    def scored(self, images: int, correct1: int) -> None:
        """Note when so many images had passed."""
        self.images = images
        self.passed.append((time.perf_counter(), images))


def rates(passed: list[tuple[float, int]], images: int) -> list[float]:
    """Return the images/s of each tenth of the run, the first from its first batch on."""
    ends = [next(at for at in passed if at[1] >= images * tenth // 10) for tenth in range(1, 11)]
    begins = [passed[0], *ends[:-1]]
    return [
        round((end[1] - begin[1]) / (end[0] - begin[0]), 1)
        for begin, end in zip(begins, ends, strict=True)
    ]


def memory_of_tenths(samples: list[dict[str, float]], images: int, name: str) -> list[float]:
    """Return the median memory in MiB over the samples of each tenth of the images."""
    tenths: list[list[float]] = [[] for _ in range(10)]
    for sample in samples:
        tenths[min(int(sample["images"] * 10 / images), 9)].append(sample[name] / 2**20)
    return [round(statistics.median(tenth), 1) if tenth else 0.0 for tenth in tenths]


def measure(folder: Path, images: int, processes: int) -> dict[str, Any]:
    """Validate the tar and return what was seen."""
    checkpoint = load_checkpoint(folder / "tiny.pth", load_spec(str(folder / "tiny.yaml")))
    settings = Settings(
        preprocessing=Preprocessing(input_size=(32, 32)), workers=processes, batch_size=64,
        resume=folder / "progress",
    )  # fmt: skip
    began = time.perf_counter()
    data = open_images(folder / "images.tar")
    opened_s = time.perf_counter() - began
    watch = Watch()
    watch.start()
    validation = validate(checkpoint, data, settings, watch.scored)
    watch.ended.set()
    watch.join()
    assert validation is not None
    result = validation.result
    return {
        "images": result.images,
        "failures": len(result.failures),
        "tar_bytes": (folder / "images.tar").stat().st_size,
        "workers": processes,
        "batch_size": settings.batch_size,
        "opening_the_tar_s": round(opened_s, 2),
        "seconds": round(result.timing.seconds, 1),
        "images_per_s": round(result.images_per_s, 1),
        "images_per_s_of_each_tenth": rates(watch.passed, result.images),
        "program_mib_in_each_tenth": memory_of_tenths(watch.samples, images, "program_bytes"),
        "workers_mib_in_each_tenth": memory_of_tenths(watch.samples, images, "workers_bytes"),
    }


def main(images: int, processes: int, output: Path | None) -> None:
    """Write the tar, validate it, print what was seen and save it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tar(folder / "images.tar", images)
        write_weights(folder)
        found = measure(folder, images, processes)
    found["environment"] = environment().model_dump()
    found["command"] = f"python benchmarks/validate_load.py --images {images} --workers {processes}"
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if output is not None:
        write_atomically(output, text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", "-o", type=Path)
    options = parser.parse_args()
    main(options.images, options.workers, options.output)
