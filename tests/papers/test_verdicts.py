from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli.papers.verdicts import Correction, difference, judge, parse, prints_as, recomputed
from s2mlp_cli.records.count import CountResult, CrossCheck, ModuleCount, OperatorCount


def counted(**fields):
    return CountResult(
        **{
            "model": "m",
            "title": "",
            "family": "s2mlp",
            "spec": {},
            "input_size": (224, 224),
            "batch_size": 1,
            "shift": "slice",
            "params": 1000,
            "params_without_head": 900,
            "params_norm": 30,
            "macs": 5000,
            "macs_matmul": 5000,
            "macs_head": 100,
            "elementwise": 0,
            "activations": 0,
            "shift_cost": None,
            "crosscheck": CrossCheck(fvcore=5000, closed_form=5000, flop_counter=5000),
            "by_operator": (),
            "by_module": (),
            "uncounted": (),
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("printed", "value", "decimals", "unit"),
    [("71M", "71", 0, "M"), ("14.0B", "14.0", 1, "B"), ("4.5G", "4.5", 1, "G")],
)
def test_parse(printed, value, decimals, unit):
    assert parse(printed) == (Decimal(value), decimals, unit)


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
    ("quantity", "leaves_out", "expected"),
    [
        ("params", (), 1000),
        ("params", ("classifier",), 900),
        ("params", ("classifier", "norms"), 870),
        ("flops", (), 5000),
        ("flops", ("classifier",), 4900),
        ("flops", ("norms",), 5000),
    ],
)
def test_figure_follows_the_convention(quantity, leaves_out, expected):
    assert recomputed(counted(), quantity, leaves_out) == expected


def counts(record, **fields):
    return record(**{"macs": 0, "elementwise": 0, "activations": 0, **fields})


MODULES = (
    ("", 1000, 5000), ("stages", 700, 3000), ("stages.0.patch", 50, 400), ("stages.1.patch", 60, 300),
    ("stages.1.patch.proj", 60, 300), ("stages.12.patch", 7, 8), ("head", 100, 100),
)  # fmt: skip
OPERATORS = (("fft_rfft2", 500), ("layer_norm", 9000), ("fft_irfft2", 301))
PARTS = counted(
    by_module=[
        counts(ModuleCount, module=module, kind="", params=params, macs=macs)
        for module, params, macs in MODULES
    ],
    by_operator=[
        counts(OperatorCount, operator=operator, calls=1, elementwise=operations)
        for operator, operations in OPERATORS
    ],
)


@pytest.mark.parametrize(
    ("quantity", "leaves_out", "adds", "expected"),
    [
        ("params", ("embeddings",), (), 700 + 100),  # what no module below the model holds
        ("params", ("downsampling",), (), 1000 - 60 - 7),
        ("flops", ("downsampling",), (), 5000 - 300 - 8),
        ("flops", (), ("transforms",), 5000 + (500 + 301) // 2),
        ("params", (), ("transforms",), 1000),
    ],
)
def test_figure_without_parts_and_with_transforms(quantity, leaves_out, adds, expected):
    assert recomputed(PARTS, quantity, leaves_out, adds) == expected


def test_flops_are_those_of_one_image():
    batch = counted(batch_size=4, macs_matmul=20_000, macs_head=400)
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
