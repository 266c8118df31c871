from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.verify import Deviation, VerifyCase, VerifyRecord, VerifyResult
from s2mlp_cli.views.sheet import to_csv
from s2mlp_cli.views.verify import remark, sheet, view
from tests.views import shown

ENVIRONMENT = Environment(
    s2mlp="0.1.0", python="3.11", platform="Linux", cpu="a cpu", cpu_count=2, packages={}
)


def case(**fields):
    found = Deviation(wrong=0, elements=8, max_error=0.0)
    return VerifyCase(
        **{
            "shape": (1, 2, 2, 8),
            "splits": (("up",),),
            "dtype": "fp32",
            "layout": "strided",
            "forward": found,
            "gradient": found,
            **fields,
        }
    )


def result(name, verdict="right", **fields):
    return VerifyResult(
        **{
            "implementation": name,
            "summary": "",
            "subject": "shift",
            "safe": True,
            "device": "cpu",
            "seed": 0,
            "verdict": verdict,
            "checks": 672,
            "failed": 0,
            "wrong_forward": 0.0,
            "wrong_gradient": 0.0,
            "max_error": 0.0,
            "skipped": {},
            "wrong_by_direction": {},
            "cases": (),
            **fields,
        }
    )


INPLACE = result(
    "inplace",
    "wrong as known",
    safe=False,
    failed=432,
    wrong_forward=0.3382,
    wrong_gradient=0.0371,
    max_error=1.899,
    wrong_by_direction={"right": 12 / 14, "left": 0.0, "down": 12 / 14, "up": 0.0},
)
TRITON = result(
    "triton",
    "cannot run",
    checks=0,
    wrong_forward=None,
    wrong_gradient=None,
    max_error=None,
    skipped={"fp32": "needs a GPU", "fp16": "needs a GPU"},
)
DEFORM = result("deform", skipped={"bf16": "no bf16", "fp16": "no bf16"})


def record(*results):
    return VerifyRecord.new(command=("s2mlp", "verify"), environment=ENVIRONMENT, results=results)


def test_terminal_answers_first():
    gemm = TRITON.model_copy(update={"implementation": "fused-gemm"})
    assert shown(view(record(result("slice"), DEFORM, TRITON, INPLACE, gemm)), 80) == EXPECTED


EXPECTED = """\
2 of 2 implementations match the reference on cpu; expected failure: inplace;
unavailable here: triton, fused-gemm (2,016 checks)

Implementations: each replaces the shift, on cpu
                                                  Outputs  Gradients  Largest
Implementation  Verdict           Checks  Failed  wrong %    wrong %    error
slice           right                672       0      0.0        0.0        0
deform          right                672       0      0.0        0.0        0
triton          unsupported            0       0
inplace         expected failure     672     432     33.8        3.7      1.9
fused-gemm      unsupported            0       0
Errors are relative to the largest value. A shift must be equal in every bit.

Remarks
deform: not in bf16, fp16: no bf16
triton, fused-gemm: needs a GPU
inplace: wrong on 14x14x384 by direction: right 85.7 %, down 85.7 %
"""


def test_nothing_is_said_of_safe_ones_where_none_was_asked_for():
    found = view(record(result("inplace", "wrong as known", safe=False)))
    assert found.answers[0] == "Expected failure: inplace (672 checks)"


def test_an_alarm_is_in_the_first_line():
    wrong = result("mine", "wrong", wrong_forward=0.5)
    found = view(record(result("slice"), wrong))
    assert found.alarm
    assert found.answers[0] == (
        "1 of 2 implementations match the reference on cpu; WRONG: mine (1,344 checks)"
    )


def test_the_remark_names_the_first_fault_and_where():
    broken = case(forward=None, gradient=None, fault="raised RuntimeError: no")
    assert remark(result("mine", "wrong", cases=(case(), broken, broken))) == (
        "2 faults, the first at 1x2x2x8 fp32 strided: raised RuntimeError: no"
    )


def test_the_remark_states_the_tolerances_of_a_mixer_kernel():
    cases = (case(tolerance=1e-5), case(dtype="bf16", tolerance=0.06))
    assert remark(result("fused", subject="mixer", cases=cases)) == (
        "within 1e-05 in fp32, 0.06 in bf16"
    )


def test_sheet_is_raw():
    assert to_csv(sheet(record(INPLACE, TRITON))) == (
        "implementation,subject,safe,device,seed,verdict,checks,failed,wrong_forward,"
        "wrong_gradient,max_error,remark\n"
        "inplace,shift,False,cpu,0,wrong as known,672,432,0.3382,0.0371,1.899,"
        '"wrong on 14x14x384 by direction: right 85.7 %, down 85.7 %"\n'
        "triton,shift,True,cpu,0,cannot run,0,0,,,,needs a GPU\n"
    )


def test_without_remarks_the_table_ends_the_text():
    assert "Remarks" not in shown(view(record(result("slice"))))
