from s2mlp_cli.records.base import Environment, changed
from s2mlp_cli.records.trace import (
    KernelTime,
    ModuleTime,
    OperatorMemory,
    OperatorTime,
    ScopeTime,
    TraceRecord,
    TraceResult,
)
from s2mlp_cli.views.trace import sheet, view
from tests.views import shown

RESULT = TraceResult(
    run="v2-small-conv-fp32-b1-inference",
    file="s2mlp.1.pt.trace.json",
    steps=3,
    step_s=0.2,
    shift_share=0.25,
    scopes=(
        ScopeTime(name="model", calls=3, seconds=0.6, share=1.0),
        ScopeTime(name="stages.*.blocks.*.mixer.shift", calls=54, seconds=0.15, share=0.25),
    ),
    operators=(
        OperatorTime(name="aten::addmm", calls=9, host_s=0.3, host_self_s=0.25),
        OperatorTime(name="aten::copy_", calls=4, host_s=0.01, host_self_s=0.01),
    ),
    modules=(
        ModuleTime(name="S2MLP_0", depth=0, calls=3, host_s=0.6, host_self_s=0.001),
        ModuleTime(name="Linear_0", depth=1, calls=3, host_s=0.1, host_self_s=0.1),
    ),
    memory=(
        OperatorMemory(
            device="CPU", name="aten::addmm", calls=9, allocations=9, allocated_bytes=2**21,
            self_allocated_bytes=2**20,
        ),
    ),
    recommendations=("GPU 0 has low utilization.",),
)  # fmt: skip


def record(*results):
    environment = Environment(
        s2mlp="0", python="3", platform="x", cpu="a cpu", cpu_count=2, packages={}
    )
    return TraceRecord.new(command=("s2mlp",), environment=environment, results=results)


EXPECTED = """\
v2-small-conv-fp32-b1-inference: shifts are 25.0 % of the model's time (200.0 ms
per run).

Scopes
Scope                          Calls  Time ms  of the model %
model                              1    200.0           100.0
stages.*.blocks.*.mixer.shift     18     50.0            25.0

Operators, by own time
Operator     Calls  Own ms  Total ms
aten::addmm      3   83.33    100.00
aten::copy_  1.333    3.33      3.33

Modules
Module      Calls  Own ms  Total ms
S2MLP_0         1   0.333     200.0
  Linear_0      1  33.333      33.3

Memory, by allocated bytes: on CPU
Operator     Allocations  Allocated MiB  by itself MiB
aten::addmm            3         0.6667         0.3333

Tracing slows everything down unevenly: for timings use `s2mlp profile`.
All times are milliseconds per run of the model.
! GPU 0 has low utilization.
"""


def test_the_terminal_at_80_columns():
    assert shown(view(record(RESULT)), 80) == EXPECTED


def test_kernels_bring_the_time_on_the_gpu():
    kernel = KernelTime(name="shift_kernel", calls=2, total_s=6e-5, mean_s=3e-5)
    operator = RESULT.operators[0].model_copy(update={"device_s": 0.2, "device_self_s": 0.2})
    gpu = RESULT.model_copy(update={"kernels": (kernel,), "operators": (operator,)})
    lines = shown(view(record(gpu)), 80).splitlines()
    assert "shift_kernel    0.6667   0.02000    30.00" in lines
    assert "aten::addmm      3   83.33     100.0       66.67         66.67" in lines


def test_long_tables_say_how_long_they_are():
    many = RESULT.model_copy(update={"operators": RESULT.operators[:1] * 30})
    text = shown(view(record(many)), 80)
    assert "Operators, by own time (first 10 of 30)" in text
    assert text.count("aten::addmm") == 10 + 1  # and once in the memory


def test_a_fused_mixer_has_no_share_of_a_shift_alone():
    fused = RESULT.model_copy(update={"shift_share": None, "step_s": None})
    assert view(record(fused)).answers[0] == (
        "v2-small-conv-fp32-b1-inference: the trace has no scope of a shift alone."
    )


def test_the_sheet_has_all_views():
    assert [row[1] for row in sheet(record(RESULT)).rows] == [
        "scope", "scope", "operator", "operator", "module", "module",
    ]  # fmt: skip


def case(shift, **more):
    given = {
        "model": "v2-small", "shift": shift, "device": "cpu", "dtype": "fp32", "batch_size": 1,
        "input_size": (224, 224), "mode": "inference", **more,
    }  # fmt: skip
    return changed(RESULT, case=given, run=f"folder-of-{shift}")


def test_runs_are_called_by_what_was_traced():
    one = view(record(case("conv")))
    assert one.title.endswith("goes: conv, v2-small, cpu, fp32, batch 1, 224×224")
    assert one.answers[0].startswith("conv (v2-small, cpu, fp32, batch 1, 224×224): shifts are")


def test_several_runs_are_called_by_what_differs():
    several = view(record(case("conv"), case("slice", dtype="bf16"), case("slice", dtype="bf16")))
    assert several.title.endswith(
        "goes: conv, fp32, slice, bf16 #1, slice, bf16 #2, v2-small, cpu, batch 1, 224×224"
    )
    captions = [table.caption for table in several.tables]
    assert captions[0] == "conv, fp32: scopes"
    assert "slice, bf16 #2: operators, by own time" in captions
    assert len(list(several.pictures())) == 1
