from s2mlp_cli.records.audit import AGREEMENTS, AuditRecord
from s2mlp_cli.records.base import changed
from tests import samples


def test_a_record_tallies_and_finds_what_changed():
    cell = samples.audit().results[0]
    cells = [
        changed(cell, verdict=verdict, known=known)
        for verdict, known in (("agrees", "agrees"), ("differs", "agrees"), ("differs", "differs"))
    ]
    record = AuditRecord.model_validate(samples.frame("audit", *cells))
    assert record.tally == {AGREEMENTS[0]: 1, AGREEMENTS[1]: 0, AGREEMENTS[2]: 0, AGREEMENTS[3]: 2}
    assert record.changed == (cells[1],)
    assert AuditRecord.model_validate_json(record.to_json()) == record
