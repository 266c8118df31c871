"""``kill -9`` at random moments of ``s2mlp validate --resume``: the result has to stay the same.

    python benchmarks/validate_killed.py [--kills 20] [--images 3000] [--seed 0]

Validates a set of small generated images once without a break, then again and again from the same
progress file, each time killed after a random share of the time that the unbroken run took, until
it was killed so often; the last run may end. Predictions of both, image by image, and all scores
have to be equal to the last bit. Ends with 1 if they are not.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from validate_load import write_tar, write_weights

SAME = ("images", "correct1", "correct5", "loss", "ece", "calibration", "confusions", "failures")


def command(folder: Path, name: str, *options: object) -> list[str]:
    """Return the command line of one validation, whose files are called ``name``."""
    model = ("--ckpt", folder / "tiny.pth", "--model", folder / "tiny.yaml", "--device", "cpu")
    data = ("--data", folder / "images.tar", "--batch-size", 8, "--workers", 1)
    files = ("-o", folder / f"{name}.json", "--predictions", folder / f"{name}.csv")
    given = (*model, *data, *files, *options)
    return [sys.executable, "-m", "s2mlp_cli", "validate", *map(str, given)]


def run(arguments: list[str], kill_after_s: float | None = None) -> int:
    """Run a command and return its status; kill it if it takes longer."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        return process.wait(kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def scores(path: Path) -> dict[str, Any]:
    """Return what has to be the same of a saved record."""
    result = json.loads(path.read_text())["results"][0]
    return {name: result[name] for name in SAME}


def kill_again_and_again(folder: Path, kills: int, seed: int) -> tuple[int, list[float]]:
    """Return how many runs it took, and after how many seconds they were killed."""
    generator, moments = random.Random(seed), []
    started = time.perf_counter()
    assert run(command(folder, "unbroken")) == 0
    unbroken_s = time.perf_counter() - started
    resumed = command(folder, "resumed", "--resume", folder / "progress")
    while len(moments) < kills:
        moments.append(generator.uniform(0, unbroken_s))
        if run(resumed, moments[-1]) == 0:  # it came to its end before: begin again
            (folder / "progress").unlink()
    return run(resumed), moments


def main(kills: int, images: int, seed: int) -> bool:
    """Kill, finish and compare; tell whether all was the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tar(folder / "images.tar", images)
        write_weights(folder)
        status, moments = kill_again_and_again(folder, kills, seed)
        one, other = (folder / f"{run}.csv" for run in ("unbroken", "resumed"))
        same = scores(one.with_suffix(".json")) == scores(other.with_suffix(".json"))
        same = status == 0 and same and one.read_bytes() == other.read_bytes()
        left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
    print(f"killed after {', '.join(f'{moment:.2f}' for moment in moments)} s")
    print(f"{'identical' if same else 'DIFFERENT'}; half-written files left: {left or 'none'}")
    return same and not left


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(0 if main(options.kills, options.images, options.seed) else 1)
