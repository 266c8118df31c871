import pytest

from s2mlp_cli.measure.profiling import rows
from s2mlp_cli.measure.profiling.device import Telemetry
from s2mlp_cli.measure.profiling.rows import timed_row
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.profile import Memory, ProfileResult, Roofline

LIMIT = Roofline(device="cpu", dtype="fp32", copy_bytes_per_s=1e10, matmul_flops_per_s=1e11)
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
    known = {"calls_per_sample": 3, "error": 0.0, "memory": Memory(weights_bytes=7)}
    return timed_row(base(**known, **fields), samples, peers, macs, limit)


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
    assert row(limit=changed(LIMIT, matmul_flops_per_s=None)).matmul_fraction is None


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
    known = base(warnings=("one thread only",))
    few, before, moved = timed_row(
        known, CONV[:3], PEERS, remarks=("the clock moved: lock it",)
    ).warnings
    assert few.startswith("under 6 samples")
    assert before == "one thread only"
    assert moved == "the clock moved: lock it"


CALM = [1.0, 1.01, 0.99, 1.02, 0.98] * 6


def test_calm_samples_need_no_remark():
    assert rows.sample_remarks(CALM) == ()


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (CALM[:5], "under 6 samples give no 95 % interval: raise --max-time"),
        (CALM[:10], "under 20 samples, so p99 is the slowest one: raise --max-time"),
        ([*CALM, 9.0, 9.0, 9.0], "over 5 % outliers"),
        ([9.0, *CALM], "the first round was slow"),
        ([1.0] * 15 + [1.06] * 15, "the median drifted by over 5 %"),
        ([1.06] * 10 + [1.0] * 10, "the median drifted by over 5 %"),
    ],
)
def test_doubtful_samples_get_a_remark_with_a_remedy(samples, words):
    found = rows.sample_remarks(samples)
    assert [remark for remark in found if remark.startswith(words)]
    assert all(":" in remark or "," in remark for remark in found)


@pytest.mark.parametrize(
    "samples",
    [
        CALM[:20],
        [*CALM[:19], 9.0],  # one in twenty
        [1.0] * 15 + [1.04] * 15,
    ],
)
def test_samples_that_are_just_not_doubtful(samples):
    assert rows.sample_remarks(samples) == ()


def test_of_few_samples_no_drift_is_told():
    (few,) = rows.sample_remarks([1.0] * 8 + [1.2] * 8)
    assert few.startswith("under 20 samples")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Set what the machine says of its load, its CPUs and its governor."""

    def says(load, cpus, governor):
        monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
        monkeypatch.setattr("os.cpu_count", lambda: cpus)
        file = tmp_path / "governor"
        file.unlink(missing_ok=True)
        if governor:
            file.write_text(f"{governor}\n")
        monkeypatch.setattr(rows, "_GOVERNOR", file)

    return says


@pytest.mark.parametrize(("load", "governor"), [(0.4, "performance"), (0.4, ""), (1.0, "")])
def test_a_calm_machine_needs_no_remark(machine, load, governor):
    machine(load, 2, governor)
    assert rows.machine_remarks() == ()


def test_a_busy_machine_and_a_scaling_governor_are_named(machine):
    machine(3.0, 2, "powersave")
    assert rows.machine_remarks() == (
        "the machine is busy (load 3.0 on 2 CPUs): wait, or close other programs",
        "the CPU scales its frequency (governor powersave): set the governor 'performance'",
    )


def test_moved_clocks_and_temperatures_are_named():
    cool = Telemetry(clock_hz=1.9e9, temperature_c=40)
    assert rows.telemetry_remarks(cool, Telemetry(1.88e9, 45)) == ()
    clock, heat = rows.telemetry_remarks(cool, Telemetry(1.2e9, 80))
    assert clock == "the clock moved by -37% during the run: lock the clocks"
    assert heat == "the temperature moved by +40 °C during the run: warm up first"
    up, down = rows.telemetry_remarks(cool, Telemetry(2.09e9, 29))
    assert up.startswith("the clock moved by +10% ")
    assert down.startswith("the temperature moved by -11 °C ")
    freezing = Telemetry(temperature_c=0)
    assert len(rows.telemetry_remarks(freezing, cool)) == 1
    for unknown in (Telemetry(), Telemetry(clock_hz=3e9), Telemetry(temperature_c=40)):
        assert rows.telemetry_remarks(unknown, Telemetry(temperature_c=41)) == ()
        assert rows.telemetry_remarks(cool, Telemetry()) == ()


def test_the_distance_to_the_products_is_there_where_they_were_timed():
    assert row().cost_over_products_s is None
    found = row(peers={**PEERS, "products": NONE})
    assert found.cost_over_products_s.value == pytest.approx(1.5)
