from s2mlp_cli.records.audit import AGREEMENTS, AuditCell, AuditRecord
from s2mlp_cli.records.base import Environment


def cell(verdict, known):
    return AuditCell(
        paper="v2",
        table="2",
        row="a",
        model="v2-small",
        quantity="flops",
        printed="6.9B",
        computed=6_901_767_168,
        difference=0.0,
        verdict=verdict,
        known=known,
    )


def test_a_record_tallies_and_finds_what_changed():
    environment = Environment(
        s2mlp="0", python="3", platform="x", cpu="c", cpu_count=1, packages={}
    )
    cells = (cell("agrees", "agrees"), cell("differs", "agrees"), cell("differs", "differs"))
    record = AuditRecord.new(command=("s2mlp",), environment=environment, results=cells)
    assert record.tally == {AGREEMENTS[0]: 1, AGREEMENTS[1]: 0, AGREEMENTS[2]: 0, AGREEMENTS[3]: 2}
    assert record.changed == (cells[1],)
    assert AuditRecord.model_validate_json(record.to_json()) == record
