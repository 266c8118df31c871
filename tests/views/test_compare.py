"""A comparison on the terminal, whole, at 80 columns."""

import pytest

from s2mlp_cli.compare import compare_records
from s2mlp_cli.views import compare
from s2mlp_cli.views.sheet import to_csv
from tests import samples
from tests.views import shown


def other_machine(record):
    environment = record.environment.model_copy(
        update={"gpus": ("NVIDIA H200",), "packages": {"torch": "2.15.0", "fvcore": "0.1.5"}}
    )
    return record.model_copy(update={"environment": environment})


def test_counts_show_exact_differences_and_the_other_machine_first():
    record = compare_records(
        ["a.json", "b.json"],
        [samples.count(), other_machine(samples.count(params=25_000_007))],
        None,
    )
    assert (
        shown(compare.view(record), 80)
        == """\
b against a: 2 more, 4 equal

Measured under different conditions
What   a       b
GPU    none    NVIDIA H200
torch  2.11.0  2.15.0

v2-small 1×224×224
Quantity                      a              b  Change  Verdict
parameters           25,000,000     25,000,007      +7  more
without head         24,000,000     24,000,007      +7  more
MACs              6,900,000,000  6,900,000,000          equal
executed (slice)  6,900,000,000  6,900,000,000          equal
element-wise         50,000,000     50,000,000          equal
activations          17,000,000     17,000,000          equal
"""
    )


def test_a_series_of_profiles_shows_ratios_trends_and_the_gate():
    series = [samples.profile(1.0, (8,)), samples.profile(1.02, (8,)), samples.profile(1.1, (8,))]
    record = compare_records(["jan.json", "feb.json", "mar.json"], series, 0.05)
    text = shown(compare.view(record), 80)
    assert text.splitlines()[3:8] == [
        "v2-small, shift alone of stage 0, cpu, fp32, batch 8, 224×224, 2 threads",
        "Quantity          jan        mar  Trend                Change  Verdict",
        "slice time   3.200 ms   3.200 ms  ▄▄▄    1.000× (1.000–1.000)  undecided",
        "slice peak  560.0 MiB  560.0 MiB  ▄▄▄                          equal",
        "conv time    5.161 ms   5.677 ms  ▁▂█    0.909× (0.909–0.909)  slower",
    ]
    said = " ".join(text.split())
    assert "relative to none or slice in the same rounds, so that what the machine did" in said
    assert "as if the machine's speed wandered between the runs by 10 %" in said


def test_what_stands_in_one_source_only_is_named():
    record = compare_records(
        ["new.json", "old.json"], [samples.profile(batches=(1, 8)), samples.profile(batches=(8,))],
        None,
    )  # fmt: skip
    text = shown(compare.view(record), 200)
    assert "\n\nOnly in new\nv2-small, " in text
    assert "\nv2-small, whole model, cpu, fp32, batch 1, 224×224, 2 threads\n" in text


def test_files_of_one_name_are_numbered():
    record = compare_records(["x/a.json", "y/a.json"], [samples.count(), samples.count()], None)
    assert compare.source_names(record) == ["a #1", "a #2"]


def test_a_narrow_terminal_folds_names_and_keeps_numbers():
    record = compare_records(["a.json", "b.json"], [samples.count(), samples.count()], None)
    text = shown(compare.view(record), 60)
    assert "6,900,000,000  6,900,000,000" in text


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([1, 2, 3], "▁▅█"), ([1, None, 2], "▁·█"), ([5, 5], "▄▄"), ([None], "·"), (["a", 1], "·▄")],
)
def test_sparkline(values, drawn):
    assert compare.sparkline(values) == drawn


def test_the_sheet_holds_raw_values():
    record = compare_records(["a.json", "b.json"], [samples.verify(), samples.verify()], None)
    assert to_csv(compare.sheet(record)).splitlines()[:2] == [
        "row,quantity,unit,a,b,speed_ratio,low,high,p_value,verdict",
        "slice on cpu,verdict,text,right,right,,,,,equal",
    ]
