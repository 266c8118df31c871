"""What the compiler makes of the kernels for real cards, without one.

In a process of its own: here kernels are made for the interpreter.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[2]

# Every kernel with its largest tile, for v2-medium in bf16.
PROGRAM = """
import json, sys
sys.path.insert(0, "benchmarks")
from compile_kernels import CARDS, compiled, launches

found = {}
for card in ("sm_90", "gfx942"):
    largest = {}
    for launch in launches(card, "bf16", ("v2-medium",)):
        constants = launch.constants
        size = constants.get("BLOCK_M", 1) * constants.get("BLOCK_N", 1)
        name = launch.kernel.fn.__name__
        if name not in largest or size > largest[name][0]:
            largest[name] = (size, launch)
    found[card] = [vars(compiled(launch, card)) for _, launch in largest.values()]
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """card -> what was compiled for it."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton")),  # empty: compiled here and now
    }
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


NAMES = ["border", "projected", "shift", "unshift", "weighted", "weighted_backward"]


@pytest.mark.parametrize("card", ["sm_90", "gfx942"])
def test_every_kernel_compiles_and_fits_the_card(kernels, card):
    from benchmarks.compile_kernels import CARDS

    assert sorted(each["kernel"] for each in kernels[card]) == NAMES
    for each in kernels[card]:
        assert each["shared"] <= CARDS[card][1], each


def test_nothing_is_spilled_in_bf16_on_sm_90(kernels):
    assert {each["kernel"]: each["spilled"] for each in kernels["sm_90"]} == dict.fromkeys(NAMES, 0)


@pytest.mark.parametrize("card", ["sm_90", "gfx942"])
def test_maps_are_read_and_written_16_bytes_at_a_time(kernels, card):
    """The rest are offsets, weights and sums; one map read or written narrowly is over the limit."""
    for each in kernels[card]:
        narrow = sum(width for width in each["widths"] if width < 16) / sum(each["widths"])
        many_sums = (card, each["kernel"]) == ("sm_90", "projected")
        assert narrow < (0.2 if many_sums else 0.07), (each, narrow)


def test_products_run_on_the_matrix_units(kernels):
    products = {each["kernel"]: each["products"] for each in kernels["sm_90"]}
    assert products["projected"] == ["wgmma.mma_async"]
    assert products["border"] == ["mma.sync"]
