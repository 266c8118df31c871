import json
from pathlib import Path

from click.testing import CliRunner

from s2mlp_cli.commands import audit as module
from s2mlp_cli.papers import published
from s2mlp_cli.records.audit import AuditRecord

REPORTS = Path(__file__).parents[2] / "reports"


def run(*arguments):
    return CliRunner().invoke(module.command, arguments, standalone_mode=False)


def test_a_table_is_audited_by_real_counts():
    done = run("--table", "v2", "--format", "json")
    record = AuditRecord.model_validate_json(done.stdout)
    assert json.loads(done.stdout)["schema"] == "s2mlp.audit/1"
    assert len(record.results) == 18
    assert done.return_value == 0
    committed = AuditRecord.model_validate_json((REPORTS / "audit.json").read_text())
    assert record.results == tuple(cell for cell in committed.results if cell.paper == "v2")


def test_the_committed_report_covers_all_and_changes_nothing():
    committed = AuditRecord.model_validate_json((REPORTS / "audit.json").read_text())
    assert len(committed.results) == 66
    assert committed.changed == ()


def test_a_changed_verdict_ends_with_3(monkeypatch):
    papers = published.papers()
    (first, *rest) = papers["v2"].tables["2"]
    changed = first.model_copy(update={"params": published.Cell(printed="24M")})
    paper = papers["v2"].model_copy(update={"tables": {"2": (changed, *rest)}})
    monkeypatch.setattr(published, "papers", lambda: {**papers, "v2": paper})
    done = run("--table", "v2")
    assert done.return_value == 3
    assert "1 VERDICTS CHANGED" in done.stdout
