"""``kill -9`` at random moments of ``s2mlp validate --resume``: the result has to stay the same.

    python benchmarks/validate_killed.py [--kills 20] [--images 3000] [--seed 0]

Validates a set of small generated images once without a break, then again and again from the same
progress file, each time killed a random moment after it saved its progress for the first time,
until it was killed so often; the last run may end. Predictions of both, image by image, and all
scores have to be equal to the last bit. Ends with 1 if they are not.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
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


def run(arguments: list[str]) -> int:
    """Run a command and return its status."""
    return subprocess.run(arguments, stdout=subprocess.DEVNULL, check=False).returncode


def kill(arguments: list[str], progress: Path, after_s: float) -> bool:
    """Run a command and kill it so long after it first saved; False if it ended before."""
    before = progress.stat().st_mtime_ns if progress.exists() else 0
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if progress.exists() and progress.stat().st_mtime_ns != before:
            time.sleep(after_s)
            process.kill()
            break
        time.sleep(0.001)
    return process.wait() == -signal.SIGKILL


def scores(path: Path) -> dict[str, Any]:
    """Return what has to be the same of a saved record."""
    result = json.loads(path.read_text())["results"][0]
    return {name: result[name] for name in SAME}


def kill_again_and_again(folder: Path, kills: int, seed: int) -> tuple[int, list[float]]:
    """Return the status of the run that was let end, and the moments of the kills in seconds."""
    generator, moments = random.Random(seed), []
    assert run(command(folder, "unbroken")) == 0
    record = json.loads((folder / "unbroken.json").read_text())
    longest_s = 2 * record["results"][0]["timing"]["seconds"] / kills
    progress = folder / "progress"
    resumed = command(folder, "resumed", "--resume", progress)
    while len(moments) < kills:
        moment = generator.uniform(0, longest_s)
        if kill(resumed, progress, moment):
            moments.append(moment)
        else:  # it came to its end before: begin again
            progress.unlink()
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
    seconds = ", ".join(f"{moment:.3f}" for moment in moments)
    print(f"killed {len(moments)} times, {seconds} s after the first save")
    print(f"{'identical' if same else 'DIFFERENT'}; half-written files left: {left or 'none'}")
    return same and not left


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(0 if main(options.kills, options.images, options.seed) else 1)
