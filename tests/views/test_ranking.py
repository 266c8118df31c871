"""Several models on one device: which is the fastest, at a glance."""

import pytest

from s2mlp_cli.records.profile import Ratio
from s2mlp_cli.views.profile import view
from s2mlp_cli.views.ranking import not_told_apart, rankings, rate_interval
from tests import samples
from tests.views import shown


def row(model, shift, speed, spread=0.01, **fields):
    """Return a whole model that runs ``speed`` images per second at batch 8."""
    median = 8 / speed
    (found,) = (
        each for each in samples.profile(batches=(8,)).results
        if each.level == "model" and each.shift == "slice" and not each.skipped
    )  # fmt: skip
    return found.model_copy(
        update={
            "model": model, "shift": shift, "median_s": median, "images_per_s": speed,
            "ci95_s": (median * (1 - spread), median * (1 + spread)), "matmul_fraction": speed / 40,
            "ratio_to_slice": None, "shift_share": None, "threads": 2, **fields,
        }
    )  # fmt: skip


FAMILIES = (
    row("v2-medium", "slice", 9.0),
    row("v2-medium", "none", 30.0, reference="the model without its shifts"),
    row("vip-medium", None, 9.1),
    row("mixer-b16", None, 12.0),
    row("gfnet-h-b", None, 4.0),
)


def record(*rows):
    return samples.profile().model_copy(update={"results": rows, "warnings": ()})


def test_models_that_the_intervals_do_not_tell_apart_share_a_rank():
    (ranked,) = rankings(FAMILIES)
    assert [(rank, found.model) for rank, found in ranked] == [
        (1, "mixer-b16"), (2, "vip-medium"), (2, "v2-medium"), (4, "gfnet-h-b"),
    ]  # fmt: skip


def test_without_an_interval_nothing_is_surely_faster():
    (ranked,) = rankings([row("a", None, 9.0, ci95_s=None), row("b", None, 1.0)])
    assert [rank for rank, _ in ranked] == [1, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"batch_size": 1}, {"dtype": "bf16"}, {"compiled": True}, {"channels_last": True},
        {"mode": "training"}, {"threads": 4}, {"device": "cuda:0"}, {"level": "block"},
    ],
)  # fmt: skip
def test_only_whole_models_that_ran_alike_are_ranked(other):
    assert rankings([row("a", None, 9.0), row("b", None, 1.0, **other)]) == []


def test_a_model_stands_there_by_its_fastest_implementation_that_is_right():
    reference = row("v2-medium", "oracle", 99.0)  # others are checked against it
    fused = row("v2-medium", "fused", 9.5)
    (ranked,) = rankings([*FAMILIES[:2], reference, fused, row("a", None, 1.0)])
    assert [(found.model, found.shift) for _, found in ranked] == [
        ("v2-medium", "fused"),
        ("a", None),
    ]


def test_the_answer_ranks_the_families():
    assert view(record(*FAMILIES)).answers == (
        "4 models (cpu, fp32, batch 8, 2 threads): mixer-b16 is the fastest, "
        "12.00 images/s; slowest: gfnet-h-b, 4.000 (33.3 % of it).",
    )


def test_the_answer_says_where_the_fastest_is_not_sure():
    unsure = record(row("a", None, 9.0, spread=0.2), row("b", None, 8.0), *FAMILIES[4:])
    (said,) = view(unsure).answers
    assert "): no winner among a, b, 9.000 images/s; slowest: gfnet-h-b, " in said


def test_what_was_asked_about_shifts_is_answered_first():
    first, last = view(record(*FAMILIES, row("v2-medium", "fused", 9.5))).answers
    assert first.startswith("v2-medium, whole model, cpu, fp32, batch 8: fused 842.1 ms")
    assert last.startswith("4 models")


def test_the_table_stands_before_all_others_and_fits_80_columns():
    lines = shown(view(record(*FAMILIES)), 80).splitlines()
    assert lines[3:12] == EXPECTED
    assert max(map(len, lines)) <= 80


EXPECTED = """\
Models, the fastest first: cpu, fp32, batch 8, 2 threads
                                                     of        of   Peak
Model       Rank  Shift  images/s         95 %  first %  matmul %    MiB
mixer-b16      1            12.00  11.88–12.12    100.0      30.0  560.0
vip-medium     2            9.100  9.010–9.192     75.8      22.7  560.0
v2-medium      2  slice     9.000  8.911–9.091     75.0      22.5  560.0
gfnet-h-b      4            4.000  3.960–4.040     33.3      10.0  560.0
Models whose 95 % intervals overlap share a rank. They were timed one after
another: intervals do not account for changes of the machine between models.
""".splitlines()


def test_a_long_name_folds_and_numbers_stay_whole():
    long = row("timm:vit_large_patch14_reg4_dinov2.lvd142m", None, 3.125)
    text = shown(view(record(*FAMILIES, long)), 80)
    assert "3.125" in text
    assert "3.094–3.157" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_report_has_the_table_and_a_picture():
    found = view(record(*FAMILIES))
    table = found.tables[0]
    assert table.caption == ("Models, the fastest first: cpu, fp32, batch 8, 2 threads")
    assert [cells[:2] for cells in table.rows] == [
        ("mixer-b16", 1), ("vip-medium", 2), ("v2-medium", 2), ("gfnet-h-b", 4),
    ]  # fmt: skip
    names = [picture.name for picture in found.pictures()]
    assert names == ["models-1", "speed-1"]  # one bar is no picture
    assert ">gfnet-h-b</text>" in next(iter(found.pictures())).drawing.svg()


def timed(shift, **fields):
    return row("v2-small", shift, 9.0, **fields)


def test_the_ends_of_a_rate_are_those_of_the_time_turned_over():
    assert rate_interval(timed("conv", ci95_s=(0.5, 2.0))) == (4.0, 16.0)
    assert rate_interval(timed("conv", ci95_s=None)) is None


RATIOS = {"slice": None, "fused": (0.95, 1.2), "roll": (1.0, 1.1), "conv": (0.5, 0.7), "new": None}
ROWS = {
    shift: timed(shift, ratio_to_slice=Ratio(value=sum(ends) / 2, ci95=ends) if ends else None)
    for shift, ends in RATIOS.items()
}


@pytest.mark.parametrize(
    ("fastest", "company"),
    [
        ("fused", ["slice", "roll", "new"]),
        ("slice", ["fused", "roll", "new"]),
        ("roll", ["slice", "fused", "new"]),
        ("conv", ["slice", "fused", "roll", "new"]),
        ("new", ["slice", "fused", "roll", "conv"]),  # nothing is known of it
    ],
)
def test_the_fastest_is_named_with_those_that_may_be_as_fast(fastest, company):
    others = [row for shift, row in ROWS.items() if shift != fastest]
    assert [row.shift for row in not_told_apart(ROWS[fastest], others)] == company


def test_what_is_surely_slower_is_no_company():
    sure = timed("fused", ratio_to_slice=Ratio(value=1.3, ci95=(1.15, 1.4)))
    others = [row for shift, row in ROWS.items() if shift != "fused"]
    assert [row.shift for row in not_told_apart(sure, others)] == ["new"]
