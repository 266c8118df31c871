import pytest

from s2mlp_cli.measure.profiling import remarks
from s2mlp_cli.measure.profiling.device import Telemetry

CALM = [1.0, 1.01, 0.99, 1.02, 0.98] * 6


def test_calm_samples_need_no_remark():
    assert remarks.sample_remarks(CALM) == ()


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (CALM[:5], "under 6 samples give no 95 % interval: raise --max-time"),
        (CALM[:10], "under 20 samples, so p99 is the slowest one: raise --max-time"),
        ([*CALM, 9.0, 9.0, 9.0], "over 5 % outliers"),
        ([9.0, *CALM], "the first round was slow"),
        ([1.0] * 15 + [1.2] * 15, "the median drifted by over 5 %"),
    ],
)
def test_doubtful_samples_get_a_remark_with_a_remedy(samples, words):
    found = remarks.sample_remarks(samples)
    assert [remark for remark in found if remark.startswith(words)]
    assert all(":" in remark or "," in remark for remark in found)


def test_a_busy_machine_and_a_scaling_governor_are_named():
    assert remarks.machine_remarks(load=0.4, cpus=2, governor="performance") == ()
    assert remarks.machine_remarks(load=0.4, cpus=2, governor="") == ()
    busy, scaled = remarks.machine_remarks(load=3.0, cpus=2, governor="powersave")
    assert busy == "the machine is busy (load 3.0 on 2 CPUs): wait, or close other programs"
    assert "powersave" in scaled


def test_moved_clocks_and_temperatures_are_named():
    cool = Telemetry(clock_hz=1.9e9, temperature_c=40)
    assert remarks.telemetry_remarks(cool, Telemetry(1.88e9, 45)) == ()
    clock, heat = remarks.telemetry_remarks(cool, Telemetry(1.2e9, 80))
    assert clock == "the clock moved by -37% during the run: lock the clocks"
    assert heat == "the temperature moved by +40 °C during the run: warm up first"
    assert remarks.telemetry_remarks(Telemetry(), cool) == ()
