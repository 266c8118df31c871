"""How much is tried, and how long and how large one example may become.

S2MLP_FUZZ=5 tries five times as many files, and other ones in every run.
"""

import os

from hypothesis import HealthCheck, settings

# name -> files of that kind: 500 specs, 300 checkpoints, 200 records, 200 sets of images.
EXAMPLES = {
    "spec keys": 200,
    "spec text": 150,
    "spec bases": 50,
    "spec overrides": 50,
    "spec counts": 50,
    "checkpoint bytes": 120,
    "checkpoint tensors": 100,
    "checkpoint pickles": 50,
    "checkpoint headers": 30,
    "record keys": 120,
    "record bytes": 40,
    "record pairs": 40,
    "images": 40,
    "tar headers": 40,
    "tar bytes": 20,
    "zip fields": 40,
    "zip bytes": 20,
    "tables": 40,
}

TIMES = int(os.environ.get("S2MLP_FUZZ", "1"))

# An example that takes more processor time hangs. (Counting 115 blocks takes 4 s on an idle machine.)
SECONDS = 30

# An example whose process grows by more has met a bomb. All files here are under 1 MiB.
BYTES = 512 * 2**20


def budget(kind):
    """Return the settings of a test that tries as many files as its kind is worth."""

    return settings(
        max_examples=EXAMPLES[kind] * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
