from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.trace import (
    KernelTime,
    ModuleTime,
    OperatorMemory,
    OperatorTime,
    ScopeTime,
    TraceRecord,
    TraceResult,
)
from s2mlp_cli.views.terminal import to_text
from s2mlp_cli.views.trace import answer, sheet, terminal

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
a run).
scopes
scope                          calls     ms  % of model
model                              3  600.0         100
stages.*.blocks.*.mixer.shift     54  150.0        25.0
operators, by own time
operator     calls  own ms  total ms
aten::addmm      9   250.0     300.0
aten::copy_      4   10.00     10.00
modules
module      calls  own ms  total ms
S2MLP_0         3   1.000     600.0
  Linear_0      3   100.0     100.0
memory, by allocated bytes
operator     device  calls  own MiB
aten::addmm     CPU      9    1.000
! GPU 0 has low utilization.

Tracing slows everything down unevenly: for timings use `s2mlp profile`.
"""


def test_the_terminal_at_80_columns():
    assert to_text(terminal(record(RESULT)), 80) == EXPECTED


def test_kernels_bring_the_time_on_the_gpu():
    kernel = KernelTime(name="shift_kernel", calls=2, total_s=6e-5, mean_s=3e-5)
    operator = RESULT.operators[0].model_copy(update={"device_s": 0.2, "device_self_s": 0.2})
    gpu = RESULT.model_copy(update={"kernels": (kernel,), "operators": (operator,)})
    lines = to_text(terminal(record(gpu)), 80).splitlines()
    assert "shift_kernel      2  0.06000  0.03000" in lines
    assert "aten::addmm      9   250.0     300.0   200.0" in lines


def test_long_tables_say_how_long_they_are():
    many = RESULT.model_copy(update={"operators": RESULT.operators[:1] * 30})
    text = to_text(terminal(record(many)), 80)
    assert "operators, by own time (first 10 of 30)" in text
    assert text.count("aten::addmm") == 10 + 1  # and once in the memory


def test_a_fused_mixer_has_no_share_of_a_shift_alone():
    fused = RESULT.model_copy(update={"shift_share": None, "step_s": None})
    assert answer(fused) == (
        "v2-small-conv-fp32-b1-inference: the trace has no scope of a shift alone."
    )


def test_the_sheet_has_all_views():
    assert [row[1] for row in sheet(record(RESULT)).rows] == [
        "scope", "scope", "operator", "operator", "module", "module",
    ]  # fmt: skip
