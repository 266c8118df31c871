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
        ([1.0] * 15 + [1.06] * 15, "the median drifted by over 5 %"),
        ([1.06] * 10 + [1.0] * 10, "the median drifted by over 5 %"),
    ],
)
def test_doubtful_samples_get_a_remark_with_a_remedy(samples, words):
    found = remarks.sample_remarks(samples)
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
    assert remarks.sample_remarks(samples) == ()


def test_of_few_samples_no_drift_is_told():
    (few,) = remarks.sample_remarks([1.0] * 8 + [1.2] * 8)
    assert few.startswith("under 20 samples")


def test_a_busy_machine_and_a_scaling_governor_are_named():
    assert remarks.machine_remarks(load=0.4, cpus=2, governor="performance") == ()
    assert remarks.machine_remarks(load=0.4, cpus=2, governor="") == ()
    assert remarks.machine_remarks(load=1.0, cpus=2, governor="") == ()
    busy, scaled = remarks.machine_remarks(load=3.0, cpus=2, governor="powersave")
    assert busy == "the machine is busy (load 3.0 on 2 CPUs): wait, or close other programs"
    assert "powersave" in scaled


def test_what_the_machine_says_is_asked_of_it(monkeypatch, tmp_path):
    (tmp_path / "governor").write_text("schedutil\n")
    monkeypatch.setattr(remarks, "_GOVERNOR", tmp_path / "governor")
    monkeypatch.setattr("os.getloadavg", lambda: (7.0, 0.0, 0.0))
    busy, scaled = remarks.machine_remarks(cpus=4)
    assert busy.startswith("the machine is busy (load 7.0 on 4 CPUs)")
    assert "(governor schedutil)" in scaled
    (tmp_path / "governor").unlink()
    assert remarks.machine_remarks(load=0, cpus=4) == ()


def test_moved_clocks_and_temperatures_are_named():
    cool = Telemetry(clock_hz=1.9e9, temperature_c=40)
    assert remarks.telemetry_remarks(cool, Telemetry(1.88e9, 45)) == ()
    clock, heat = remarks.telemetry_remarks(cool, Telemetry(1.2e9, 80))
    assert clock == "the clock moved by -37% during the run: lock the clocks"
    assert heat == "the temperature moved by +40 °C during the run: warm up first"
    up, down = remarks.telemetry_remarks(cool, Telemetry(2.09e9, 29))
    assert up.startswith("the clock moved by +10% ")
    assert down.startswith("the temperature moved by -11 °C ")
    freezing = Telemetry(temperature_c=0)
    assert len(remarks.telemetry_remarks(freezing, cool)) == 1
    for unknown in (Telemetry(), Telemetry(clock_hz=3e9), Telemetry(temperature_c=40)):
        assert remarks.telemetry_remarks(unknown, Telemetry(temperature_c=41)) == ()
        assert remarks.telemetry_remarks(cool, Telemetry()) == ()
