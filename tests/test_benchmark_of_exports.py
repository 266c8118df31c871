"""The table of what exports, and what does not."""

from benchmarks import exports
from s2mlp_cli.shifts import registry
from tests import samples


def test_the_table_of_exports_has_every_shift_and_says_why_there_is_no_file(tmp_path):
    record = tmp_path / "record.json"
    record.write_text(samples.export().to_json())
    kept = {"model": "v2-small", "shift": "slice", "format": "onnx", **exports.facts(record)}
    why = {"kept": False, "reason": "it cannot run on cpu"}
    rows = [
        kept,
        {"model": "v2-small", "shift": "triton", "format": "onnx", **why},
        {"model": "v1-wide", "shift": "triton", "format": "onnx", **why},
        {**kept, "model": "gfnet-s", "shift": "no shift", "format": "pt2"},
    ]
    text = exports.markdown(rows)
    assert "| slice | 42, 3e-06 |  |" in text
    assert "| triton | no | no |" in text
    assert "- triton: it cannot run on cpu (v2-small, v1-wide)" in text
    assert "## .pt2\n\n| shift | gfnet-s |\n| --- | --- |\n| no shift | 42, 3e-06 |" in text
    assert len(set(exports.wanted())) == 2 * (3 * len(registry.NAMES) + 3)
