"""Images/s of ``s2mlp validate`` against timm's validation loop, where the data path dominates.

    python benchmarks/validate_speed.py [--images 1200] [--workers 1] [--rounds 7]

Writes photographs-like JPEGs of 500x375 into a temporary folder and runs both loops on them in
alternating rounds, with the same tiny model, workers and batch size. Prints the images/s of every
round and the ratio with its spread. (validate_load.py measures the memory.)
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset, create_loader
from torch import nn

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.loader import DecodedImages, batches
from s2mlp_cli.measure.validating.evaluate import Evaluator
from s2mlp_cli.measure.validating.table import ImageTable
from s2mlp_cli.measure.validating.validate import scored_batches
from s2mlp_cli.preprocessing import Preprocessing

CONFIG = Preprocessing()
BATCH = 64


def write_photos(root: Path, count: int) -> None:
    """Write JPEGs of some 90 kB: smooth shapes with grain, as photographs have it."""
    generator = np.random.default_rng(0)
    (root / "n00000000").mkdir()
    first = 0
    for first in range(min(count, 16)):
        coarse = generator.integers(0, 256, (9, 12, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.BICUBIC), np.int16)
        grain = generator.normal(0, 14, smooth.shape).astype(np.int16)
        picture = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
        picture.save(root / "n00000000" / f"{first:06d}.jpeg", quality=92)
    for number in range(first + 1, count):
        source = root / "n00000000" / f"{number % 16:06d}.jpeg"
        (root / "n00000000" / f"{number:06d}.jpeg").hardlink_to(source)


def tiny_model() -> nn.Module:
    """Return a classifier that takes next to no time."""
    return nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3 * 49, 1000)).eval()


def ours(root: Path, model: nn.Module, workers: int) -> float:
    """Return our images/s: the loop of ``s2mlp validate``."""
    images = open_images(root)
    count = len(images)
    started = time.perf_counter()
    decoded = DecodedImages(images.source, np.arange(count), CONFIG)
    chunks = [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    evaluator = Evaluator(model, CONFIG, torch.device("cpu"))
    table, targets = ImageTable.empty(count), np.zeros(count, np.int64)
    source = batches(decoded, chunks, workers, pin_memory=False)
    for batch, scores, _ in scored_batches(evaluator, targets, source):
        table.write(batch, scores)
    return count / (time.perf_counter() - started)


@torch.inference_mode()
def timms(root: Path, model: nn.Module, workers: int) -> float:
    """Return timm's images/s: its loader, and the loop of its validate.py."""
    dataset = create_dataset("", str(root))
    started = time.perf_counter()
    loader = create_loader(
        dataset, (3, *CONFIG.input_size), BATCH, is_training=False, use_prefetcher=True,
        interpolation=CONFIG.interpolation, mean=CONFIG.mean, std=CONFIG.std,
        crop_pct=CONFIG.crop_pct, num_workers=workers, device=torch.device("cpu"),
        persistent_workers=False,
    )  # fmt: skip
    correct = 0
    for images, targets in loader:
        output = model(images)
        nn.functional.cross_entropy(output, targets).item()
        correct += int((output.topk(5).indices == targets[:, None]).sum())
    return len(dataset) / (time.perf_counter() - started)


def compare(images: int, workers: int, rounds: int) -> None:
    """Run both in alternating rounds and print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        root, model = Path(folder), tiny_model()
        write_photos(root, images)
        ratios = []
        for number in range(rounds):
            pair = [(ours, "ours"), (timms, "timm")]
            speed = {
                name: run(root, model, workers)
                for run, name in (pair if number % 2 else pair[::-1])
            }
            ratios.append(speed["ours"] / speed["timm"])
            print(
                f"round {number}: ours {speed['ours']:.1f} images/s, timm {speed['timm']:.1f}, "
                f"ratio {ratios[-1]:.3f}"
            )
        print(
            f"median ratio {statistics.median(ratios):.3f} "
            f"(from {min(ratios):.3f} to {max(ratios):.3f}), {workers} workers, {images} images"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    compare(options.images, options.workers, options.rounds)
