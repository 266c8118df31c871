import csv
import io
from datetime import datetime, timezone

from s2mlp_cli.measure.profiling.rows import Timed, timed_row
from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.profile import (
    EarlierRun,
    Limit,
    Memory,
    ProfileRecord,
    ProfileResult,
    ProfileSettings,
    Ratio,
)
from s2mlp_cli.views.terminal import to_text
from s2mlp_cli.views.profile import answers, sheet, terminal
from s2mlp_cli.views.profile_remarks import doubts
from s2mlp_cli.views.sections import section
from s2mlp_cli.views.sheets import to_csv, to_markdown

LIMIT = Limit(device="cpu", dtype="fp32", copy_bytes_per_s=2e10, matmul_flops_per_s=1.5e11)
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
    return timed_row(
        base(shift, level),
        Timed(
            tuple(factor * value for value in STEADY),
            calls=1,
            error=0.0,
            memory=Memory(weights_bytes=100, peak_rss_bytes=400 * 2**20),
            **fields,
        ),
        PEERS if level == "model" else {"slice": STEADY},
        macs=7 * 10**9 if level == "model" else 0,
        limit=LIMIT,
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
conv: 250.0 ms (v2-small, whole model); 0.800 (0.800–0.800) × the speed of
slice: slower; shifts take 28.0 (28.0–28.0) % of its time.

v2-small, shift alone of stage 0 · 1×32×32×192 · fp32 · cpu · inference · 2
threads
shift  median ms     95 %     GB/s  × slice         95 %
slice      200.0  198–202  0.00786                        reference
conv       400.0  395–405  0.00393    0.500  0.500–0.500     slower
shift  p50 ms    p90    p99  shifts %  95 %  % of copy  peak RSS MiB
slice   200.0  205.4  206.0                     0.0393         400.0
conv    400.0  410.8  412.0                     0.0197         400.0
none skipped: nothing to time: it returns its input

v2-small, whole model · 1×3×224×224 · fp32 · cpu · inference · 2 threads
shift  median ms     95 %  images/s  × slice         95 %
slice      200.0  198–202      5.00                        reference
none       180.0  178–182      5.56     1.11    1.11–1.11     faster
conv       250.0  247–253      4.00    0.800  0.800–0.800     slower
shift  p50 ms    p90    p99  shifts %       95 %  % of matmul  peak RSS MiB
slice   200.0  205.4  206.0      10.0  10.0–10.0         46.7         400.0
none    180.0  184.9  185.4                              51.9         400.0
conv    250.0  256.8  257.5      28.0  28.0–28.0         37.3         400.0
none is the same without its shifts: its result is wrong by design
inplace skipped: wrong values: off the definition by 1, 1e-04 is allowed

limits of cpu in fp32: copy 20.00 GB/s, matrix product 0.1500 TFLOP/s
! the machine is busy (load 3.0 on 2 CPUs): wait, or close other programs
"""


def test_the_terminal_at_80_columns():
    assert to_text(terminal(RECORD), 80) == EXPECTED


def test_every_line_fits_80_columns():
    assert max(map(len, to_text(terminal(RECORD), 80).splitlines())) <= 80


def test_the_answer_speaks_of_the_widest_level_that_was_timed():
    (only,) = answers(record(*RECORD.results[:3]))
    assert only == (
        "conv: 400.0 ms (v2-small, shift alone of stage 0); "
        "0.500 (0.500–0.500) × the speed of slice: slower."
    )
    assert answers(record(RECORD.results[1])) == ["Nothing was timed."]
    assert answers(record(timed("slice", 1.0)))[0].startswith("slice: 200.0 ms")


def against_slice(shift, ends, speed=1.0):
    row = timed(shift, 1 / speed)
    return row.model_copy(update={"ratio_to_slice": Ratio(value=speed, ci95=ends)})


def test_the_fastest_of_many_is_named_with_those_that_may_be_as_fast():
    rows = [
        timed("slice", 1.0),
        against_slice("fused", (1.1, 1.3), 1.2),
        against_slice("roll", (1.0, 1.15), 1.05),
        against_slice("conv", (0.8, 1.05), 0.9),
        against_slice("gather", None, 0.9),
    ]
    best, company = answers(record(*rows))
    assert best.startswith("Fastest of 5, fused: ")
    assert company == "Not told apart from it: roll, gather."
    rows[2:] = [against_slice("roll", (1.0, 1.05), 1.02)]
    (alone,) = answers(record(*rows, timed("conv", 2.0)))
    assert alone.startswith("Fastest of 4, fused: ")


def test_more_than_the_copy_bandwidth_is_explained_by_the_cache():
    fast = RECORD.results[0].model_copy(update={"copy_fraction": 1.6})
    assert "over 100 % of copy: this map stays in the cache" in to_text(terminal(record(fast)), 80)


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
    text = to_text(terminal(record(*rows)), 80)
    assert "RSS" not in text
    assert (
        """\
shift  weights MiB  activations  peak allocated  peak reserved
slice        100.0        50.00           150.0          190.0
none         100.0        50.00           150.0          190.0
conv         100.0        50.00           150.0          190.0
"""
        in text
    )


def test_limits_that_could_not_be_measured_are_unknown_and_those_of_a_cpu_name_its_threads():
    unknown = Limit(device="cpu", dtype="bf16", threads=1)
    known = LIMIT.model_copy(update={"threads": 2})
    text = to_text(terminal(RECORD.model_copy(update={"limits": (unknown, known)})), 80)
    assert "limits of cpu in bf16 on 1 thread: unknown\n" in text
    assert "limits of cpu in fp32 on 2 threads: copy 20.00 GB/s, matrix" in text


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
    text = to_text(terminal(RECORD.model_copy(update={"earlier": earlier})), 80)
    assert "rows 1 to 2 of 7 are of 2026-03-01 12:05 UTC, seed 1\n" in text
    assert "rows 3 to 4 of 7 are of 2026-03-02 12:05 UTC, seed 2\n" in text


def test_more_than_the_matrix_product_is_explained_too():
    fast = RECORD.results[2].model_copy(update={"matmul_fraction": 1.4})
    assert "over 100 % of matmul" in to_text(terminal(record(fast)), 80)
    assert any("over 100 % of matmul" in remark for remark in section(record(fast)).remarks)


def test_a_model_without_shifts_is_timed_as_it_is():
    row = timed_row(base(None), Timed(STEADY, 1), {None: STEADY}, macs=10**9, limit=LIMIT)
    text = to_text(terminal(record(row)), 80)
    assert text.startswith("no shift: 200.0 ms (v2-small, whole model).\n")


def test_a_warning_of_many_rows_stands_once():
    rows = [
        timed(name, 1.0).model_copy(update={"warnings": ("few samples: raise --max-time",)})
        for name in ("a", "b", "c", "d", "e")
    ]
    text = to_text(terminal(record(*rows)), 80)
    assert (
        "! few samples: raise --max-time (a model, b model, c model and 2 more)"
        in text.splitlines()
    )


def test_rows_of_several_models_are_told_apart_in_warnings():
    few = {"warnings": ("few samples: raise --max-time",)}
    rows = [
        timed("a", 1.0).model_copy(update={**few, "model": model}) for model in ("tiny", "large")
    ]
    assert list(doubts(record(*rows)))[-1] == (
        "few samples: raise --max-time (large a model, tiny a model)"
    )


def test_a_report_doubts_what_the_terminal_doubts():
    row = timed("a", 1.0).model_copy(update={"warnings": ("few samples: raise --max-time",)})
    assert "few samples: raise --max-time (a model)" in section(record(row)).remarks


def test_a_narrow_terminal_cuts_no_name_and_no_number():
    text = to_text(terminal(RECORD), 40)
    assert "…" not in text
    assert {"slice", "none", "conv"} <= {line.partition(" ")[0] for line in text.splitlines()}


def test_percentiles_of_means_are_called_that():
    quick = base("slice", "op").model_copy(update={"calls_per_sample": 1200, "median_s": 1e-5})
    said = "a sample of a quick row is the mean of up to 1,200 calls; so are p50 to p99"
    assert said in section(record(quick)).remarks
    assert said in to_text(terminal(record(quick)), 120)
    assert not any("calls" in line for line in section(record(timed("slice", 1))).remarks)


def test_the_sheet_has_raw_values_and_the_ends_of_every_interval():
    rows = list(csv.DictReader(io.StringIO(to_csv(sheet(RECORD)))))
    assert len(rows) == len(RECORD.results)
    model = rows[5]
    assert float(model["median_s"]) == RECORD.results[5].median_s
    assert (float(model["ci95_low_s"]), float(model["ci95_high_s"])) == RECORD.results[5].ci95_s
    assert float(model["ratio_to_slice_low"]) == RECORD.results[5].ratio_to_slice.ci95[0]
    assert model["peak_rss_bytes"] == str(400 * 2**20)
    assert rows[1]["skipped"] == "nothing to time: it returns its input"
    assert rows[1]["median_s"] == ""
    assert to_markdown(sheet(RECORD)).count("\n") == len(rows) + 2
