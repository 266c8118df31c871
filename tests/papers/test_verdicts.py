from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli.papers.verdicts import (
    Correction,
    Counted,
    Part,
    difference,
    judge,
    parse,
    prints_as,
    recomputed,
)

COUNTED = Counted(
    params=1000,
    macs=5000,
    parts={
        "classifier": Part(100, 100),
        "norms": Part(30, 0),
        "embeddings": Part(200, 0),
        "downsampling": Part(67, 308),
    },
    transforms=801,
)


@pytest.mark.parametrize(
    ("printed", "value", "unit"), [("71M", "71", "M"), ("14.0B", "14.0", "B"), ("4.5G", "4.5", "G")]
)
def test_parse(printed, value, unit):
    assert parse(printed) == (Decimal(value), unit)


@pytest.mark.parametrize("printed", ["", "71", "M", "7 1M", "71MB", "-1M", "1.M", "71m"])
def test_parse_refuses_what_is_not_a_figure(printed):
    with pytest.raises(ValueError, match="is not a figure such as 71M"):
        parse(printed)


@pytest.mark.parametrize(
    ("value", "printed", "flags", "same"),
    [
        (71_433_984, "71M", {}, True),
        (13_988_265_984, "14.0B", {}, True),
        (13_949_999_999, "14.0B", {}, False),
        (13_950_000_000, "14.0B", {}, True),  # a half is rounded up
        (53_476_224, "51M", {}, False),
        (53_476_224, "51M", {"binary": True}, True),
        (53_476_224, "51M", {"binary": True, "truncated": True}, False),  # 50.9992
        (4_587_456, "4.3M", {"binary": True}, False),
        (4_587_456, "4.3M", {"binary": True, "truncated": True}, True),
        (3_583_770_624, "3.5B", {"truncated": True}, True),
        (4_500_000_000, "4.5G", {}, True),
        (4_831_838_208, "4.5G", {"binary": True}, True),
        (4_831_838_208, "4.5B", {"binary": True}, True),
    ],
)
def test_prints_as(value, printed, flags, same):
    assert prints_as(value, printed, **flags) is same


@given(st.integers(1, 10**12), st.integers(0, 3), st.sampled_from("MB"))
def test_a_figure_prints_as_itself_and_not_as_its_neighbour(value, decimals, unit):
    scale = {"M": 10**6, "B": 10**9}[unit]
    shown = (Decimal(value) / scale).quantize(Decimal(1).scaleb(-decimals), "ROUND_HALF_UP")
    step = Decimal(1).scaleb(-decimals)
    assert prints_as(value, f"{shown}{unit}")
    assert not prints_as(value, f"{shown + step}{unit}")


@pytest.mark.parametrize(
    ("quantity", "leaves_out", "transforms", "expected"),
    [
        ("params", (), False, 1000),
        ("params", ("classifier",), False, 900),
        ("params", ("classifier", "norms"), False, 870),
        ("params", ("embeddings",), False, 800),
        ("params", ("downsampling",), False, 933),
        ("params", (), True, 1000),
        ("flops", (), False, 5000),
        ("flops", ("classifier",), False, 4900),
        ("flops", ("norms",), False, 5000),
        ("flops", ("downsampling",), False, 4692),
        ("flops", (), True, 5400),
    ],
)
def test_figure_follows_the_convention(quantity, leaves_out, transforms, expected):
    assert recomputed(COUNTED, quantity, leaves_out, transforms) == expected


def test_flops_are_those_of_one_image():
    batch = COUNTED._replace(images=4, macs=20_000, parts={"classifier": Part(100, 400)})
    assert recomputed(batch, "flops", ("classifier",)) == 4900
    assert recomputed(batch, "params", ()) == 1000


@pytest.mark.parametrize(
    ("printed", "computed", "binary_units", "correction", "corrected", "verdict"),
    [
        ("71M", 71_433_984, True, None, None, "agrees"),
        ("51M", 53_476_224, True, None, None, "agrees in binary units"),
        ("51M", 53_476_224, False, None, None, "differs"),
        ("31B", 41_108_373_504, True, {"input_size": 336}, 31_473_598_464, "agrees after"),
        ("31B", 41_108_373_504, True, {"input_size": 320}, 28_547_481_600, "differs"),
        ("4.3M", 4_587_456, True, {"binary": True, "truncated": True}, 4_587_456, "agrees after"),
        ("4.3M", 4_587_456, True, {"binary": True}, 4_587_456, "differs"),
        ("22M", 22_901_608, True, None, None, "agrees in binary units"),
        ("22M", 22_901_608, False, None, None, "differs"),
    ],
)
def test_judge(printed, computed, binary_units, correction, corrected, verdict):
    found = judge(
        printed,
        computed,
        binary_units=binary_units,
        correction=Correction(**correction) if correction else None,
        corrected=corrected,
    )
    assert found.startswith(verdict)
    assert (verdict == "agrees") == (found == "agrees")


def test_difference_is_relative_to_the_printed_figure():
    assert difference(22_000_000, "20M") == pytest.approx(0.1)
    assert difference(6_900_000_000, "6.9B") == 0
