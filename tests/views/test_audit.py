from s2mlp_cli.records.audit import AuditCell, AuditRecord
from s2mlp_cli.records.base import Environment
from s2mlp_cli.views.audit import sheet, terminal
from s2mlp_cli.views.terminal import to_text
from s2mlp_cli.views.sheets import to_csv

ENVIRONMENT = Environment(
    s2mlp="0.1.0", python="3.11", platform="Linux", cpu="a cpu", cpu_count=2, packages={}
)


def cell(row, quantity, printed, computed, verdict="agrees", **fields):
    return AuditCell(
        **{
            "paper": "v1",
            "table": "2",
            "row": row,
            "model": "v1-wide",
            "quantity": quantity,
            "printed": printed,
            "computed": computed,
            "difference": 0.25,
            "verdict": verdict,
            "known": verdict,
            **fields,
        }
    )


WIDE = (cell("wide", "params", "71M", 71_433_984), cell("wide", "flops", "14B", 13_988_265_984))
DEEP = (
    cell("deep", "params", "51M", 53_476_224, "agrees in binary units", reason="51.00 in 2^20"),
    cell("deep", "flops", "10.5B", 10_461_979_648, "differs", reason="nobody knows"),
)


def record(*cells):
    return AuditRecord.new(command=("s2mlp", "audit"), environment=ENVIRONMENT, results=cells)


def test_terminal():
    assert to_text(terminal(record(*WIDE, *DEEP)), width=90) == EXPECTED


EXPECTED = """\
4 published figures: 2 agree, 1 in binary units, 1 differ; every verdict is the known one

 table   row    params      here   FLOPs      here   verdict
 ──────────────────────────────────────────────────────────────────────────────
 v1 2    wide      71M   71.43 M     14B   13.99 G   agree
 v1 2    deep      51M   53.48 M   10.5B   10.46 G   parameters in binary units
                                                     FLOPs differ

v1 table 2, deep, 51M: 51.00 in 2^20
v1 table 2, deep, 10.5B: nobody knows
"""


def test_a_changed_verdict_is_in_the_first_line_and_named():
    changed = cell("wide", "params", "71M", 72, "differs", known="agrees")
    shown = to_text(terminal(record(changed))).splitlines()
    assert shown[0] == "1 published figures: 1 differ; 1 VERDICTS CHANGED"
    assert shown[-1] == "v1 table 2, wide, 71M: differs, but known as: agrees"


def test_a_baseline_needs_no_table_twice():
    baseline = cell("ResNet50", "params", "25.6M", 1, paper="baselines", table="baselines")
    shown = to_text(terminal(record(baseline)))
    assert "baselines baselines" not in shown
    assert " baselines   ResNet50 " in shown


def test_sheet_is_raw():
    assert to_csv(sheet(record(DEEP[0]))) == (
        "paper,table,row,model,quantity,printed,computed,difference,corrected,verdict,known,"
        "reason\n"
        "v1,2,deep,v1-wide,params,51M,53476224,0.25,,agrees in binary units,"
        "agrees in binary units,51.00 in 2^20\n"
    )
