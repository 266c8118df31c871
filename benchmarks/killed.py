"""``kill -9`` at random moments, then ``--resume``: what was saved stays, and nothing is missing.

    python benchmarks/killed.py validate|profile [--kills 20] [--seed 0]

Runs a small job once without a break, then repeatedly from the same file, killing each run at a
random moment after its first save, as often as ``--kills`` says; the last run may end. Then these
must equal those of the unbroken run, to the last bit:

- ``validate``: all scores, and the predictions image by image;
- ``profile``: which rows there are, in their order (times are measured, and differ). What one run
  saved is the beginning of what the next one saves.

No process and no half-written file may be left over. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from validate_load import write_tar, write_weights

IMAGES = 3000
# How long a process may outlive the one that was killed.
WAIT_S = 15


class Job:
    """A command whose runs share one folder; ``name`` tells the files of its runs apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def record(self, name: str) -> dict[str, Any]:
        """Return the record of a run, empty as long as there is none."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else {"results": []}


class Validate(Job):
    """All scores of a tiny model on small generated images."""

    same = (
        "images", "correct1", "correct5", "loss", "ece", "calibration", "confusions", "failures",
    )  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.progress = folder / "progress"
        write_tar(folder / "images.tar", IMAGES)
        write_weights(folder)

    def words(self, name: str) -> tuple[object, ...]:
        """Return the command line, without --resume."""
        model = ("--ckpt", self.folder / "tiny.pth", "--model", self.folder / "tiny.yaml")
        data = ("--data", self.folder / "images.tar", "--batch-size", 8, "--workers", 1)
        return ("validate", *model, *data, "--predictions", self.folder / f"{name}.csv")

    def seconds(self, name: str) -> float:
        """Return how long a run was at work."""
        seconds: float = self.record(name)["results"][0]["timing"]["seconds"]
        return seconds

    def saved(self) -> list[Any]:
        """Return nothing: whether progress was kept, the result of the last run tells."""
        return []

    def result(self, name: str) -> Any:
        """Return what has to be the same of every finished run."""
        scores = self.record(name)["results"][0]
        predictions = (self.folder / f"{name}.csv").read_bytes()
        return [scores[field] for field in self.same], predictions


class Profile(Job):
    """Many short cases at all levels; the file to resume is the record itself."""

    key = ("model", "shift", "level", "stage", "batch_size", "shape")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.progress = folder / "resumed.json"

    def words(self, name: str) -> tuple[object, ...]:
        """Return the command line, without --resume."""
        model = ("--model", "v2-small", "--set", "stages.0.depth=1", "--set", "stages.1.depth=1")
        cases = ("--input-size", 56, "--batch-size", "1,2,3,4,5,6", "--shift", "conv,gather,fused")
        time = ("--threads", 1, "--min-time", 0, "--max-time", 0.1)
        return ("profile", *model, *cases, *time)

    def seconds(self, name: str) -> float:
        """Return how long the rounds of a run took, without what comes before and after them."""
        rows = self.record(name)["results"]
        return sum(sum(row["samples_s"]) * (row["calls_per_sample"] or 0) for row in rows)

    def saved(self) -> list[Any]:
        """Return the rows that the next run has to keep."""
        rows: list[Any] = self.record("resumed")["results"]
        return rows

    def result(self, name: str) -> Any:
        """Return what has to be the same of every finished run: which rows there are."""
        return [[row[field] for field in self.key] for row in self.record(name)["results"]]


JOBS = {"validate": Validate, "profile": Profile}


def start(job: Validate | Profile, name: str, *more: object) -> subprocess.Popen[bytes]:
    """Start a run in a group of processes of its own."""
    words = (*job.words(name), "--device", "cpu", "-o", job.folder / f"{name}.json", *more)
    command = [sys.executable, "-m", "s2mlp_cli", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def kill(process: subprocess.Popen[bytes], progress: Path, after_s: float) -> bool:
    """Kill a run so long after it first saved; False if it ended before."""
    before = progress.stat().st_mtime_ns if progress.exists() else 0
    while process.poll() is None:
        if progress.exists() and progress.stat().st_mtime_ns != before:
            time.sleep(after_s)
            process.kill()
            break
        time.sleep(0.001)
    return process.wait() == -signal.SIGKILL


def all_gone(group: int) -> bool:
    """Wait until no process of a group is left; False if some are after :data:`WAIT_S`."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def kill_again_and_again(
    job: Validate | Profile, kills: int, generator: random.Random
) -> list[str]:
    """Kill one run after the other; return what went wrong."""
    longest_s = 2 * job.seconds("unbroken") / kills
    faults: list[str] = []
    saved: list[Any] = []
    done = 0
    while done < kills:
        moment = generator.uniform(0, longest_s)
        run = start(job, "resumed", "--resume", job.progress)
        killed = kill(run, job.progress, moment)
        before, saved = saved, job.saved()
        if saved[: len(before)] != before:
            faults.append(f"saved rows changed after kill {done}")
        if not all_gone(run.pid):
            faults.append(f"processes left over by kill {done + 1}")
        if killed:
            done += 1
            rows = f"; {len(saved)} rows" if saved else ""
            print(f"kill {done}: {moment:.3f} s after the first save{rows}", flush=True)
        else:  # it came to its end before
            print("ended; begins again", flush=True)
            job.progress.unlink()
            saved = []
    return faults


def main(name: str, kills: int, seed: int) -> bool:
    """Kill, finish and compare; tell whether all is as it has to be."""
    with tempfile.TemporaryDirectory() as folder:
        job = JOBS[name](Path(folder))
        assert start(job, "unbroken").wait() == 0
        faults = kill_again_and_again(job, kills, random.Random(seed))
        kept, half = job.saved(), half_written(job.folder)
        status = start(job, "resumed", "--resume", job.progress).wait()
        same = status == 0 and job.result("unbroken") == job.result("resumed")
        same = same and job.saved()[: len(kept)] == kept
        left = half_written(job.folder)
    print(f"{'identical' if same else 'DIFFERENT'}; {'; '.join(faults) or 'no process left over'}")
    print(f"half-written after the last kill: {half or 'none'}; in the end: {left or 'none'}")
    return same and not faults and not left


def half_written(folder: Path) -> list[str]:
    """Return the files that were being written."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(0 if main(options.job, options.kills, options.seed) else 1)
