"""Every file that is no record of this s2mlp gets one sentence."""

import contextlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.reading import KINDS, read_record
from tests import samples


@pytest.mark.parametrize("kind", samples.ALL)
def test_what_was_written_is_read_back(kind, tmp_path):
    record = samples.ALL[kind]()
    path = tmp_path / "record.json"
    path.write_text(record.to_json())
    assert read_record(path) == record


def test_there_is_a_sample_of_every_kind():
    assert set(KINDS) == set(samples.ALL)


TEXT = samples.count().to_json()


def changed(**fields):
    return json.dumps({**json.loads(TEXT), **fields})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty; run the command that makes it again"),
        ("hello", "is not a record of s2mlp: line 1 is not JSON; give a file that"),
        (TEXT[: len(TEXT) // 2], "is cut off: its JSON ends in line"),
        ('{"a": 1,, "b": 2}', "is damaged: line 1, column 9 is not JSON"),
        ("[1, 2]", "it holds [1, 2], where a JSON object is expected"),
        ("{}", "its 'schema' is missing, where 's2mlp.<kind>/<version>' is expected"),
        (changed(schema="other/1"), "its 'schema' is 'other/1'"),
        (changed(schema="s2mlp.cuont/1"), "'cuont', which this s2mlp does not know; did you mean"),
        (changed(schema="s2mlp.count/2"), "is a record of a newer version, s2mlp.count/2"),
        (changed(schema="s2mlp.count/0"), "is a record of an older version, s2mlp.count/0"),
        (changed(extra=1), "is damaged: at 'extra': Extra inputs are not permitted, found 1"),
        (changed(created="never"), "is damaged: at 'created':"),
        (TEXT.replace('"params": 25000000', '"params": "many"'), "at 'results.0.params':"),
        (TEXT.replace("25000000", "1" + "0" * 400), "is out of range"),
        (TEXT.replace("25000000", "1e999"), "the number '1e999' is out of range"),
        (TEXT.replace("25000000", "NaN"), "the number 'NaN' is out of range"),
        ("[" * 100_000, "is not a record of s2mlp"),
        (changed(results=json.loads("[" * 60 + "]" * 60)), "nested over 40 levels deep"),
        (changed(schema=["s2mlp.count/1"]), "its 'schema' is ['s2mlp.count/1']"),
        ('{"schema": ' + "9" * 5000 + "}", "is not a record of s2mlp"),
    ],
)
def test_a_file_that_is_no_record_gets_a_sentence(text, sentence, tmp_path):
    path = tmp_path / "some file.json"
    path.write_text(text)
    with pytest.raises(RecordError) as caught:
        read_record(path)
    said = str(caught.value)
    assert str(path) in said
    assert sentence in said
    assert "\n" not in said


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_what_a_shell_wrote_in_another_encoding_is_read(encoding, tmp_path):
    """PowerShell's ``>`` writes UTF-16 with a mark, ``Out-File -Encoding utf8`` one of UTF-8."""
    path = tmp_path / "record.json"
    path.write_bytes(TEXT.encode(encoding))
    assert read_record(path) == samples.count()


@pytest.mark.parametrize("field", ["median_s", "p99_s", "samples_s", "ci95_s"])
@pytest.mark.parametrize("value", [-1.0, [[]], {}])
def test_times_that_nobody_can_measure_are_refused(field, value, tmp_path):
    tree = json.loads(samples.profile().to_json())
    tree["results"][0][field] = value
    path = tmp_path / "record.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(RecordError, match=rf"is damaged: at 'results\.0\.{field}"):
        read_record(path)


@pytest.mark.parametrize("column", ["values", "intervals"])
def test_a_comparison_has_one_value_for_each_source(column, tmp_path):
    tree = json.loads(samples.compare().to_json())
    row = next(row for row in tree["results"] if row[column])
    row[column].append(row[column][0])
    path = tmp_path / "record.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(RecordError, match="not one value for each of the 2 sources"):
        read_record(path)


def test_a_validation_of_nothing_is_no_validation(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(samples.validate().to_json()), "results": []}))
    with pytest.raises(RecordError, match="is damaged: at 'results': Tuple should have at least 1"):
        read_record(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path, why in ((tmp_path / "none.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(RecordError, match=f"cannot read {path}: {why}"):
            read_record(path)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "picture.json"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(RecordError, match="it is not text"):
        read_record(path)


@given(st.data())
def test_mutated_records_are_read_or_refused_in_a_sentence(tmp_path_factory, data):
    """Cut, overwrite and duplicate pieces of a good file: a record or a RecordError, no more."""
    text = data.draw(st.sampled_from([samples.count(), samples.verify()])).to_json()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    piece = data.draw(st.one_of(st.text(max_size=8), st.sampled_from(["null", "-1", "1e999", "{"])))
    path = tmp_path_factory.mktemp("mutated") / "record.json"
    path.write_text(text[:start] + piece + text[end:], encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(RecordError):
        read_record(path)


def test_reading_needs_no_torch(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(TEXT)
    code = (
        "import sys; from s2mlp_cli.records.reading import read_record; "
        f"read_record({str(path)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_export_without_a_proof_is_no_record_of_one(tmp_path):
    document = json.loads(samples.export().to_json())
    document["results"][0]["proofs"] = []
    path = tmp_path / "export.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RecordError, match="proofs"):
        read_record(path)
