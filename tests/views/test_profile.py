"""A profile: the answer, the tables at 80 columns, and what to doubt."""

import csv as reader
import io
from datetime import datetime, timezone

from s2mlp_cli.measure.profiling.rows import timed_row
from s2mlp_cli.records.base import Environment, changed
from s2mlp_cli.records.profile import (
    EarlierRun,
    Measured,
    Memory,
    ProfileRecord,
    ProfileResult,
    ProfileSettings,
    Ratio,
    Roofline,
)
from s2mlp_cli.views.profile import sheet, view
from s2mlp_cli.views.sheet import to_csv, to_markdown
from tests.views import shown

LIMIT = Roofline(device="cpu", dtype="fp32", copy_bytes_per_s=2e10, matmul_flops_per_s=1.5e11)
STEADY = tuple(0.2 * (1 + 0.01 * ((5 * index) % 7 - 3)) for index in range(24))
PEERS = {"slice": STEADY, "none": tuple(0.9 * value for value in STEADY)}


def base(shift, level="model", **fields):
    return ProfileResult(
        **{
            "model": "v2-small",
            "shift": shift,
            "level": level,
            "stage": None if level == "model" else 0,
            "device": "cpu",
            "dtype": "fp32",
            "batch_size": 1,
            "input_size": (224, 224),
            "shape": (1, 3, 224, 224) if level == "model" else (1, 32, 32, 192),
            "threads": 2,
            **fields,
        }
    )


def timed(shift, factor, level="model", **fields):
    memory = Memory(weights_bytes=100, peak_rss_bytes=400 * 2**20)
    return timed_row(
        base(shift, level, calls_per_sample=1, error=0.0, memory=memory, **fields),
        tuple(factor * value for value in STEADY),
        PEERS if level == "model" else {"slice": STEADY},
        7 * 10**9 if level == "model" else 0,
        LIMIT,
    )


def record(*rows, warnings=()):
    return ProfileRecord.new(
        command=("s2mlp", "profile"),
        environment=Environment(
            s2mlp="0", python="3", platform="x", cpu="a cpu", cpu_count=2, packages={}
        ),
        settings=ProfileSettings(seed=0, min_time_s=0.5, max_time_s=3),
        limits=(LIMIT,),
        warnings=warnings,
        results=rows,
    )


RECORD = record(
    timed("slice", 1.0, "op"),
    base("none", "op", skipped="nothing to time: it returns its input"),
    timed("conv", 2.0, "op"),
    timed("slice", 1.0),
    timed("none", 0.9, reference="the same without its shifts: its result is wrong by design"),
    timed("conv", 1.25),
    base("inplace", skipped="wrong values: off the definition by 1, 1e-04 is allowed", error=1.0),
    warnings=("the machine is busy (load 3.0 on 2 CPUs): wait, or close other programs",),
)

EXPECTED = """\
v2-small, whole model, cpu, fp32, batch 1: conv 250.0 ms, 0.800 (0.800–0.800) ×
the speed of slice (slower), shifts take 28.0 (28.0–28.0) % of its time.

Whole model: v2-small, cpu, fp32, batch 1, 224×224, inference, 2 threads
       Median
Shift      ms         95 %  images/s  × slice         95 %  Verdict    n
slice   200.0  197.7–202.3      5.00                        baseline  24
none    180.0  177.9–182.1      5.56     1.11    1.11–1.11  faster    24
conv    250.0  247.1–252.9      4.00    0.800  0.800–0.800  slower    24
         p50                Shifts                   of     Peak
Shift     ms    p90    p99       %       95 %  matmul %  RSS MiB
slice  200.0  205.4  206.0    10.0  10.0–10.0      46.7    400.0
none   180.0  184.9  185.4                         51.9    400.0
conv   250.0  256.8  257.5    28.0  28.0–28.0      37.3    400.0

The shift alone: v2-small, stage 0, 1×32×32×192, cpu, fp32, batch 1, 224×224,
inference, 2 threads
       Median
Shift      ms         95 %     GB/s  × slice         95 %  Verdict    n
slice   200.0  197.7–202.3  0.00786                        baseline  24
conv    400.0  395.3–404.7  0.00393    0.500  0.500–0.500  slower    24
         p50                    of     Peak
Shift     ms    p90    p99  copy %  RSS MiB
slice  200.0  205.4  206.0     0.0    400.0
conv   400.0  410.8  412.0     0.0    400.0

Roofline, measured in the same run
Device  Dtype  Copy GB/s  Matrix product TFLOP/s
cpu     fp32       20.00                  0.1500

Not timed
none, v2-small, shift alone of stage 0, batch 1: nothing to time: it returns its
input
inplace, v2-small, whole model, batch 1: wrong values: off the definition by 1,
1e-04 is allowed

× slice: speed relative to slice, paired by round, so it may differ from the
ratio of the medians; 'undecided' when its 95 % interval contains 1.
none is the same without its shifts: its result is wrong by design.
! the machine is busy (load 3.0 on 2 CPUs): wait, or close other programs
"""


def test_the_terminal_at_80_columns():
    assert shown(view(RECORD), 80) == EXPECTED


def test_every_line_fits_80_columns():
    assert max(map(len, shown(view(RECORD), 80).splitlines())) <= 80


def answers(*rows):
    return view(record(*rows)).answers


def test_the_answer_speaks_of_the_widest_level_that_was_timed():
    assert answers(*RECORD.results[:3]) == (
        "v2-small, shift alone of stage 0, cpu, fp32, batch 1: conv 400.0 ms, "
        "0.500 (0.500–0.500) × the speed of slice (slower).",
    )
    assert answers(RECORD.results[1]) == ("Nothing was timed.",)
    assert answers(timed("slice", 1.0))[0].startswith(
        "v2-small, whole model, cpu, fp32, batch 1: slice 200.0 ms"
    )


def against_slice(shift, ends, speed=1.0):
    row = timed(shift, 1 / speed)
    return row.model_copy(update={"ratio_to_slice": Ratio(value=speed, ci95=ends)})


def test_no_winner_is_named_among_those_that_cannot_be_told_apart():
    rows = [
        timed("slice", 1.0),
        against_slice("fused", (1.1, 1.3), 1.2),
        against_slice("roll", (1.0, 1.15), 1.05),
        against_slice("conv", (0.8, 1.05), 0.9),
        against_slice("gather", None, 0.9),
        timed("none", 0.5, reference="the same without its shifts"),
    ]
    assert answers(*rows) == (
        "v2-small, whole model, cpu, fp32, batch 1: no winner among fused (1.20 × slice), "
        "roll (1.05 × slice), gather (0.900 × slice); slower than these: slice, conv (0.900 × slice).",
    )


def test_one_that_is_surely_the_fastest_is_named_and_the_reference_does_not_compete():
    rows = [
        timed("slice", 1.0),
        against_slice("fused", (1.1, 1.3), 1.2),
        against_slice("roll", (1.0, 1.05), 1.02),
        against_slice("oracle", (1.15, 1.4), 1.3),
        timed("conv", 2.0),
    ]
    (said,) = answers(*rows)
    assert "batch 1: the fastest of 4 is fused 166.7 ms, 1.20 (1.10–1.30) × the speed" in said
    assert "oracle" not in said


def test_of_many_cases_each_says_its_fastest_alone():
    rows = [row.model_copy(update={"batch_size": size}) for size in range(1, 6)
            for row in (timed("slice", 1.0), against_slice("fused", (1.1, 1.3), 1.2))]  # fmt: skip
    said = answers(*rows)
    assert len(said) == 5
    assert said[0].endswith(
        "batch 1: the fastest of 2 is fused (1.20 × slice); slower than it: slice."
    )


def test_every_batch_size_has_its_own_answer():
    rows = [row.model_copy(update={"batch_size": size}) for size in (1, 4)
            for row in (timed("slice", 1.0), timed("conv", 2.0))]  # fmt: skip
    assert [said.partition(":")[0] for said in answers(*rows)] == [
        "v2-small, whole model, cpu, fp32, batch 1", "v2-small, whole model, cpu, fp32, batch 4",
    ]  # fmt: skip


def test_cases_that_differ_by_their_image_size_alone_name_it():
    rows = [changed(timed("conv", 1.0), input_size=size) for size in ((224, 224), (288, 224))]
    assert [said.partition(":")[0] for said in answers(*rows)] == [
        f"v2-small, whole model, cpu, fp32, batch 1, {size}" for size in ("224×224", "288×224")
    ]


def test_one_sample_has_no_interval_and_says_so():
    row = timed_row(base("conv"), (0.25,), {"slice": (0.2,), "none": (0.3,)}, 10**9, LIMIT)
    (said,) = answers(row)
    assert "conv 250.0 ms (n = 1)" in said
    assert "the cost of its shifts is within the noise" in said
    (table,) = (each for each in view(record(row)).tables if each.caption == "Whole model")
    titles = [column.title for column in table.printed().columns]
    assert "n" in titles
    assert "Shifts" not in titles


def test_a_share_that_may_be_nothing_is_noise_and_its_interval_is_beside_it():
    row = timed("conv", 1.25).model_copy(
        update={"shift_share": Measured(value=-0.02, ci95=(-0.05, 0.01))}
    )
    text = shown(view(record(row)), 200)
    assert " noise  -5.000–1.000 " in text
    assert "-2.00 " not in text
    assert "'noise' when the 95 % interval of their share contains 0" in text


def test_a_value_and_its_interval_have_the_same_decimals():
    row = against_slice("conv", (0.008455, 0.008969), 0.0087)
    assert "0.00870  0.00846–0.00897" in shown(view(record(row)), 200)


def test_more_than_the_copy_bandwidth_is_explained_by_the_cache():
    fast = RECORD.results[0].model_copy(update={"copy_fraction": 1.6})
    assert view(record(fast)).remarks[0] == (
        "Over 100 % of copy (slice of v2-small, shift alone of stage 0, cpu, fp32, batch 1): the map "
        "stays in the cache, and the large tensor of the copy does not."
    )


def test_a_gpu_has_a_table_of_its_memory():
    memory = Memory(
        weights_bytes=100 * 2**20,
        activations_bytes=50 * 2**20,
        peak_allocated_bytes=150 * 2**20,
        peak_reserved_bytes=190 * 2**20,
    )
    rows = [
        row.model_copy(update={"device": "cuda:0", "memory": memory})
        for row in RECORD.results
        if row.level == "model" and row.median_s
    ]
    text = shown(view(record(*rows)), 80)
    assert "RSS" not in text
    assert "slice    100.0        50.00          150.0         190.0\n" in text


def test_limits_that_could_not_be_measured_are_unknown_and_those_of_a_cpu_name_its_threads():
    unknown = Roofline(device="cpu", dtype="bf16", threads=1)
    known = LIMIT.model_copy(update={"threads": 2})
    text = shown(view(RECORD.model_copy(update={"limits": (unknown, known)})), 80)
    assert "cpu     bf16         1    unknown                 unknown\n" in text
    assert "cpu     fp32         2      20.00                  0.1500\n" in text


def test_a_record_of_several_runs_says_which_rows_are_older():
    earlier = tuple(
        EarlierRun(
            created=datetime(2026, 3, day, 12, 5, tzinfo=timezone.utc),
            command=("s2mlp", "profile"),
            settings=ProfileSettings(seed=day, min_time_s=0.5, max_time_s=3),
            rows=2,
        )
        for day in (1, 2)
    )
    text = shown(view(RECORD.model_copy(update={"earlier": earlier})), 80)
    assert "Rows 1 to 2 of 7 are from 2026-03-01 12:05 UTC, seed 1.\n" in text
    assert "Rows 3 to 4 of 7 are from 2026-03-02 12:05 UTC, seed 2.\n" in text


def exported(shift, **fields):
    return timed(shift, 1.0, **{"runtime": "openvino", "runtime_version": "7", **fields})


def test_more_than_the_matrix_product_is_explained_by_the_load_or_by_a_faster_runtime():
    rows = [changed(row, matmul_fraction=1.4) for row in (timed("conv", 1.0), exported("conv"))]
    case = "v2-small, whole model, cpu, fp32, batch 1"
    of_torch, of_other = (said for said in view(record(*rows)).remarks if "of matmul" in said)
    assert of_torch.startswith(f"Over 100 % of matmul (conv of {case}): ")
    assert "most likely on a busy machine" in of_torch
    assert of_other == (
        f"Over 100 % of matmul (conv (openvino) of {case}): the roofline is a product of torch, "
        "and these runtimes have faster ones."
    )


def test_errors_of_exported_files_are_beside_their_rows_and_a_note_says_relative_to_what():
    rows = [
        changed(exported("conv", batch_size=size, runtime_precision="fp32"), error=error)
        for size, error in ((1, 1.2e-5), (8, 0.25))
    ]
    unchecked = changed(exported(None, dtype="auto", runtime_precision="bf16"), error=None)
    found = view(record(timed("conv", 1.0), *rows, unchecked))
    (table,) = (each for each in found.tables if each.caption == "Whole model")
    titles = [column.title for column in table.columns]
    errors = [row[titles.index("Max error")] for row in table.rows]
    assert errors == [None, 1.2e-5, 0.25, None]
    assert "1.2e-05" in shown(found, 200)
    assert found.remarks[-3:] == (
        "Max error: the largest difference between the logits of an exported file and those of the "
        "reference in torch, relative to the largest of these.",
        "openvino 7 computes in fp32, bf16 (its own choice).",
        "Not compared with a reference: no shift (openvino) of v2-small, whole model, cpu, auto "
        "(bf16), batch 1.",
    )


def test_a_model_without_shifts_is_timed_as_it_is():
    row = timed_row(base(None), STEADY, {None: STEADY}, 10**9, LIMIT)
    text = shown(view(record(row)), 80)
    assert text.startswith("v2-small, whole model, cpu, fp32, batch 1: no shift 200.0 ms.\n")


FEW = {"warnings": ("few samples: raise --max-time",)}


def test_a_warning_of_many_rows_is_said_once_and_marks_its_rows():
    rows = [timed(name, 1.0).model_copy(update=FEW) for name in ("slice", "b")]
    found = view(record(*rows, timed("c", 1.0)))
    assert found.warnings == (
        "few samples: raise --max-time (slice, b of v2-small, whole model, cpu, fp32, batch 1)",
    )
    lines = shown(found, 80).splitlines()
    assert [line[:7] for line in lines if "–202.3" in line] == ["slice !", "b !    ", "c      "]
    assert view(record(*rows)).warnings == ("few samples: raise --max-time (all 2 rows)",)


def rows_named(rows, *others):
    """Return how a warning about ``rows`` names them among all."""
    warned = [changed(row, **FEW) for row in rows]
    (said,) = view(record(*warned, *others)).warnings
    return said.removeprefix("few samples: raise --max-time (").removesuffix(")")


def test_rows_of_several_models_are_told_apart_in_warnings():
    rows = [timed("a", 1.0, model=model) for model in ("tiny", "large")]
    assert rows_named(rows, timed("b", 1.0, model="tiny"), timed("b", 1.0, model="large")) == (
        "a of whole model, cpu, fp32, batch 1: tiny; large"
    )


def test_all_rows_of_a_case_are_not_listed_and_what_cases_share_is_said_once():
    names = ("slice", "none", "conv", "roll")
    rows = [timed(name, 1.0, dtype=dtype) for dtype in ("fp32", "bf16") for name in names]
    other = timed("slice", 1.0, batch_size=8)
    assert rows_named(rows[:4], *rows[4:]) == "all of v2-small, whole model, cpu, fp32, batch 1"
    assert rows_named(rows, other) == "all of v2-small, whole model, cpu, batch 1: fp32; bf16"


def test_many_rows_of_some_cases_are_counted():
    rows = [timed(name, 1.0, batch_size=size) for size in (1, 2, 3, 4, 5) for name in "abcdefghi"]
    assert rows_named(rows[:4], *rows[4:]) == (
        "4 implementations of v2-small, whole model, cpu, fp32, batch 1"
    )
    some = [rows[0], rows[10], rows[20], rows[30]]
    assert rows_named(some, *(row for row in rows if row not in some)) == (
        "4 of 45 rows, in v2-small, whole model, cpu, fp32: batch 1; batch 2; batch 3; and 1 other "
        "case"
    )


def test_what_was_not_timed_in_several_cases_says_once_what_they_share():
    reason = {"skipped": "out of memory"}
    rows = [base(name, batch_size=size, **reason) for size in (8, 64) for name in ("conv", "roll")]
    text = shown(view(record(timed("slice", 1.0), *rows)), 200)
    assert "conv, roll, v2-small, whole model: batch 8; batch 64: out of memory\n" in text


def test_a_narrow_terminal_cuts_no_name_and_no_number():
    text = shown(view(RECORD), 40)
    assert "…" not in text
    assert {"slice", "none", "conv"} <= {line.partition(" ")[0] for line in text.splitlines()}


def test_percentiles_of_means_are_called_that():
    quick = timed("slice", 1.0, "op").model_copy(update={"calls_per_sample": 1200})
    said = "A sample of a fast row is the mean of up to 1,200 calls; so are p50 to p99."
    assert said in view(record(quick)).remarks
    assert not any("calls" in line for line in view(record(timed("slice", 1))).remarks)


def test_the_sheet_has_raw_values_and_the_ends_of_every_interval():
    rows = list(reader.DictReader(io.StringIO(to_csv(sheet(RECORD)))))
    assert len(rows) == len(RECORD.results)
    model = rows[5]
    assert float(model["median_s"]) == RECORD.results[5].median_s
    assert (float(model["ci95_low_s"]), float(model["ci95_high_s"])) == RECORD.results[5].ci95_s
    assert float(model["ratio_to_slice_low"]) == RECORD.results[5].ratio_to_slice.ci95[0]
    assert model["peak_rss_bytes"] == str(400 * 2**20)
    assert rows[1]["skipped"] == "nothing to time: it returns its input"
    assert rows[1]["median_s"] == ""
    assert to_markdown(sheet(RECORD)).count("\n") == len(rows) + 2


def test_compiled_rows_show_how_and_how_long_it_took_and_an_unknown_memory_its_reason():
    row = changed(
        timed("conv", 1.0, compile_s=12.5), compiled=True, compile="block", compile_mode="default",
        memory=Memory(unknown="the helper process was killed"),
    )  # fmt: skip
    text = shown(view(record(row)), 160)
    assert "compiled block by block" in text
    assert "12.50" in text
    assert "Memory is not known: the helper process was killed (conv of v2-small, " in text
    assert "compiled as a whole" in shown(view(record(changed(row, compile="model"))), 160)
    csv_row = next(reader.DictReader(io.StringIO(to_csv(sheet(record(row))))))
    assert (csv_row["compile"], csv_row["compile_s"]) == ("block", "12.5")
    assert (csv_row["runtime"], csv_row["input_size"]) == ("torch", "224x224")


def test_speed_is_drawn_over_the_image_size_where_there_are_several():
    rows = [changed(timed("conv", 1.0), input_size=size) for size in ((224, 224), (288, 224))]
    names = [picture.name for picture in view(record(*rows)).pictures()]
    assert "size-1" in names
    assert "size-1" not in [picture.name for picture in view(record(rows[0])).pictures()]


def test_older_rows_say_what_was_different_about_their_run():
    now = record(timed("conv", 1.0), timed("slice", 1.0))
    before = EarlierRun(
        created=datetime(2026, 1, 2, tzinfo=timezone.utc), command=(), settings=now.settings, rows=1,
        environment=changed(now.environment, python="3.10.1"),
    )  # fmt: skip
    found = view(changed(now, earlier=(before,)))
    assert any(remark.endswith("seed 0, with Python 3.10.1.") for remark in found.remarks)


def test_a_model_that_beats_the_one_without_shifts_has_no_noise_but_a_reason():
    row = changed(timed("fused", 0.8), shift_share=Measured(value=-0.2, ci95=(-0.25, -0.15)))
    assert " <0  -25.0–-15.0 " in shown(view(record(row)), 200)
    (said,) = answers(row)
    assert "faster than the model without shifts, which stacks its maps" in said
