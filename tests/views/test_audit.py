from s2mlp_cli.records.audit import AuditCell, AuditRecord
from s2mlp_cli.views.audit import sheet, view
from s2mlp_cli.views.sheet import to_csv
from tests import samples
from tests.views import shown


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
    return AuditRecord.model_validate(samples.frame("audit", *cells))


def test_terminal():
    assert shown(view(record(*WIDE, *DEEP)), 80) == EXPECTED


EXPECTED = """\
4 published figures: 2 agree, 1 agree in binary units, 1 differ; every verdict
is as expected

Figures: v1 table 2
Row   Params  computed   MACs  computed  Verdict
wide     71M   71.43 M    14B   13.99 G  agree
deep     51M   53.48 M  10.5B   10.46 G  parameters agree in binary units
                                         MACs differ

Why a figure does not simply agree
v1 table 2, deep, 51M, agrees in binary units: 51.00 in 2^20
v1 table 2, deep, 10.5B, differs: nobody knows
"""


def test_a_changed_verdict_is_in_the_first_line_and_named():
    changed = cell("wide", "params", "71M", 72, "differs", known="agrees")
    lines = shown(view(record(changed))).splitlines()
    assert lines[0] == "1 published figure: 1 differ; 1 VERDICTS CHANGED"
    assert lines[-1] == "! v1 table 2, wide, 71M: differs, where 'agrees' was expected"


def test_the_comparison_models_are_one_table_of_both_papers():
    baseline = cell("ResNet50", "params", "25.6M", 1, paper="baselines", table="baselines")
    assert "\nFigures: baselines\n" in shown(view(record(baseline)))


def test_sheet_is_raw():
    assert to_csv(sheet(record(DEEP[0]))) == (
        "paper,table,row,model,quantity,printed,computed,difference,corrected,verdict,known,"
        "reason\n"
        "v1,2,deep,v1-wide,params,51M,53476224,0.25,,agrees in binary units,"
        "agrees in binary units,51.00 in 2^20\n"
    )
