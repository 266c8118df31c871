"""How much `s2mlp count` costs beyond importing torch and fvcore, as ratios in one run.

The two commands are run in turn, A B A B ..., so that a machine that drifts slows both alike:

    python benchmarks/count_speed.py --rounds 9

Goals: the median ratio for one model at most 1.25; 25 models at most 0.5 s each beyond the first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

BASELINE = [sys.executable, "-W", "ignore", "-c", "import torch, fvcore.nn"]
ONE = [sys.executable, "-m", "s2mlp_cli", "count", "--model", "v2-medium"]


def seconds(command: list[str]) -> float:
    """Return the wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def many(count: int) -> list[str]:
    """Return the command that counts ``count`` different built-in specs of S2-MLP."""
    from s2mlp_cli.specs import load_spec, names

    chosen = [name for name in names() if load_spec(name).family == "s2mlp"][:count]
    return [*ONE[:4], *(part for name in chosen for part in ("--model", name))]


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and both ends."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    """Measure, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    commands = {"import": BASELINE, "count 1": ONE, "count 25": many(25)}
    for command in commands.values():  # file caches
        seconds(command)
    samples = {name: [0.0] * rounds for name in commands}
    for index in range(rounds):
        for name, command in commands.items():
            samples[name][index] = seconds(command)
    pairs = list(zip(*samples.values(), strict=True))
    ratios = [one / base for base, one, _ in pairs]
    each = [(all_ - one) / 24 for _, one, all_ in pairs]
    found = {
        "samples_s": samples,
        "ratio_count_to_import": spread(ratios),
        "seconds_per_further_model": spread(each),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
