"""`s2mlp compare` in the process: exit codes, formats, files of predictions."""

import csv
import io
import json

import pytest
from click.testing import CliRunner

from s2mlp_cli.commands.compare import command
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.predictions import Prediction, save_predictions
from s2mlp_cli.records.reading import read_record
from tests import samples


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, slower in (("jan", 1.0), ("feb", 1.02), ("mar", 1.1)):
        (tmp_path / f"{name}.json").write_text(samples.profile(slower, (8,)).to_json())
    (tmp_path / "count.json").write_text(samples.count().to_json())
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=True)


@pytest.mark.parametrize(
    ("after", "limit", "code", "said"),
    [
        ("mar", "5%", 1, "FAILED: 8 slower by more than 5 %"),
        ("mar", "0.2", 0, "passed: none is surely slower by more than 20 %"),
        ("feb", "5%", 0, "passed: none is surely slower by more than 5 %"),
        ("feb", "1.5%", 1, "FAILED: 8 slower by more than 1.5 %"),
    ],
)
def test_the_gate(files, after, limit, code, said):
    done = run("jan.json", f"{after}.json", "--fail-slower", limit)
    assert done.exit_code == code
    assert said in " ".join(done.output.split())


def test_without_a_gate_slower_is_no_failure(files):
    done = run("jan.json", "mar.json")
    assert done.exit_code == 0
    assert done.output.startswith("mar against jan: 8 slower, 8 equal\n")


def test_json_is_a_record_that_can_be_read_back(files):
    done = run("jan.json", "feb.json", "mar.json", "--format", "json", "-o", "trend.json")
    assert json.loads(done.output)["schema"] == "s2mlp.compare/1"
    record = read_record("trend.json")
    assert [source.path for source in record.sources] == ["jan.json", "feb.json", "mar.json"]
    assert record.results[0].values == pytest.approx((3.2e-3, 3.264e-3, 3.52e-3))
    assert record.results[0].verdict == "slower"


def test_csv_has_a_column_for_every_source(files):
    rows = list(csv.DictReader(io.StringIO(run("jan.json", "mar.json", "--format", "csv").output)))
    assert float(rows[0]["jan"]) == pytest.approx(3.2e-3)
    assert float(rows[0]["low"]) < float(rows[0]["speed_ratio"]) < float(rows[0]["high"]) < 1


def test_other_kinds_are_refused(files):
    with pytest.raises(RecordError, match=r"jan\.json is a record of profile and count\.json one"):
        run("jan.json", "count.json")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["jan.json"], "give two records or more"),
        (["jan.json", "feb.json", "--fail-slower", "five"], "'five' is no part; write 5% or 0.05"),
        (["a.csv", "jan.json"], "two at a time"),
        (["a.csv", "b.csv", "--fail-slower", "5%"], "without records and --fail-slower"),
    ],
)
def test_usage(files, arguments, sentence):
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.output


def predictions(right):
    return [
        Prediction(f"{n}.jpeg", 1, 1, 2, 3, 4, 5, 0.9, 0.1, n in right, True, False)
        for n in range(100)
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_mcnemar_of_two_files_of_predictions(files, ending):
    """Only the first right: 4 images, only the second: 16. Twice P(X <= 4 of 20) = 0.0118."""
    save_predictions(files / f"ours.{ending}", predictions(range(64)))
    save_predictions(files / f"theirs.{ending}", predictions(range(4, 80)))
    done = run(f"ours.{ending}", f"theirs.{ending}")
    assert done.exit_code == 0
    assert [line.rstrip() for line in done.output.splitlines()] == [
        "theirs against ours: 2 better",
        "                      ours   theirs                     change  verdict",
        "100 images that both decoded",
        "  top-1            64.00 %  76.00 %  +12.00 points (p = 0.012)  better",
        "  right here only        4       16                        +12  better",
    ]
