import pytest

from s2mlp_cli.measure.profiling.rows import Timed, timed_row
from s2mlp_cli.records.profile import Limit, Memory, ProfileResult

LIMIT = Limit(device="cpu", dtype="fp32", copy_bytes_per_s=1e10, matmul_flops_per_s=1e11)
SLICE = (2.0, 2.2, 1.8, 2.0, 2.1, 1.9, 2.0, 2.05)
NONE = tuple(0.5 * value for value in SLICE)
CONV = tuple(1.25 * value for value in SLICE)
PEERS = {"slice": SLICE, "none": NONE, "conv": CONV}


def base(level="model", **fields):
    return ProfileResult(
        **{
            "model": "v2-small",
            "shift": "conv",
            "level": level,
            "stage": None if level == "model" else 0,
            "device": "cpu",
            "dtype": "fp32",
            "batch_size": 4,
            "input_size": (224, 224),
            "shape": (4, 32, 32, 192) if level != "model" else (4, 3, 224, 224),
            **fields,
        }
    )


def row(samples=CONV, peers=PEERS, macs=10**9, limit=LIMIT, **fields):
    timed = Timed(samples, calls=3, error=0.0, memory=Memory(weights_bytes=7))
    return timed_row(base(**fields), timed, peers, macs=macs, limit=limit)


def test_a_model_row_has_rates_ratios_and_the_distance_to_the_matmul_rate():
    found = row()
    assert found.median_s == pytest.approx(2.5)
    assert found.p50_s == found.median_s
    assert found.images_per_s == pytest.approx(4 / 2.5)
    assert found.ratio_to_slice.value == pytest.approx(0.8)
    assert found.ratio_to_slice.ci95 == pytest.approx((0.8, 0.8))
    assert found.ratio_to_slice.verdict == "slower"
    assert found.cost_over_none_s.value == pytest.approx(1.5)
    assert found.shift_share.value == pytest.approx(0.6)
    assert found.matmul_fraction == pytest.approx(2e9 / 2.5 / 1e11)
    assert (found.bytes_per_s, found.copy_fraction) == (None, None)
    assert (found.samples_s, found.calls_per_sample) == (CONV, 3)
    assert found.memory.weights_bytes == 7


def test_an_operation_is_a_read_and_a_write_of_the_tensor():
    found = row(level="op", macs=0)
    moved = 2 * 4 * 32 * 32 * 192 * 4 / 2.5
    assert found.bytes_per_s == pytest.approx(moved)
    assert found.copy_fraction == pytest.approx(moved / 1e10)
    assert (found.images_per_s, found.matmul_fraction) == (None, None)
    assert row(level="op", dtype="bf16").bytes_per_s == pytest.approx(moved / 2)
    assert row(level="op", mode="training").bytes_per_s == pytest.approx(2 * moved)


def test_training_has_three_times_the_products():
    assert row(mode="training").matmul_fraction == pytest.approx(3 * row().matmul_fraction)


def test_unknown_is_empty_not_infinite():
    found = row(limit=None, peers={"conv": CONV})
    assert found.matmul_fraction is None
    assert found.ratio_to_slice is None
    assert found.shift_share is None
    assert row(limit=LIMIT.model_copy(update={"matmul_flops_per_s": None})).matmul_fraction is None


def test_few_rounds_have_no_interval_and_are_undecided():
    found = row(samples=CONV[:3])
    assert found.ci95_s is None
    assert found.ratio_to_slice.ci95 is None
    assert found.ratio_to_slice.verdict == "undecided"
    assert found.warnings == ("under 6 samples give no 95 % interval: raise --max-time",)


def test_a_ratio_whose_interval_holds_one_is_undecided():
    wavering = tuple(value * factor for value, factor in zip(SLICE, (0.9, 1.1) * 4, strict=True))
    assert row(samples=wavering).ratio_to_slice.verdict == "undecided"
    assert row(samples=NONE).ratio_to_slice.verdict == "faster"


def test_what_else_is_doubtful_stands_with_the_row():
    timed = Timed(CONV[:3], calls=1, remarks=("the clock moved: lock it",))
    found = timed_row(base(), timed, PEERS, macs=0, limit=None)
    few, moved = found.warnings
    assert few.startswith("under 6 samples")
    assert moved == "the clock moved: lock it"
