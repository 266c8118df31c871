"""`s2mlp compare` in the process: exit codes, formats, files of predictions."""

import csv
import io
import json

import pytest
from click.testing import CliRunner

from s2mlp_cli.commands.compare import command
from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import changed
from s2mlp_cli.records.predictions import Prediction, save_predictions
from s2mlp_cli.records.profile import ProfileRecord
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
        ("mar", "5%", 3, "FAILED: 4 slower by more than 5 %"),
        ("mar", "0.2", 0, "passed: no row is slower by more than 20 % (95 % confidence)"),
        ("feb", "5%", 0, "passed: no row is slower by more than 5 % (95 % confidence)"),
        ("feb", "1.5%", 3, "FAILED: 4 slower by more than 1.5 %"),
    ],
)
def test_the_gate(files, after, limit, code, said):
    done = run("jan.json", f"{after}.json", "--fail-slower", limit)
    assert done.exit_code == code
    assert said in " ".join(done.output.split())


def test_the_gate_names_what_it_could_not_judge(files):
    """Ten times as slow, but from too few samples for an interval: no silent pass."""
    record = samples.profile(1.02, (8,))
    slice_, conv, *rest = record.results
    few = tuple(10 * sample for sample in conv.samples_s[:3])
    short = changed(conv, ci95_s=None, median_s=10 * conv.median_s, samples_s=few)
    record = changed(record, results=(slice_, short, *rest))
    (files / "short.json").write_text(record.to_json())
    done = run("jan.json", "short.json", "--fail-slower", "5%")
    said = " ".join(done.output.split())
    assert done.exit_code == 0
    assert "passed: no row is slower by more than 5 % (95 % confidence); 1 without an " in said
    assert (
        "skipped, no confidence interval: v2-small, shift alone of stage 0, cpu, fp32, "
        "batch 8, 224×224, 2 threads: conv time" in said
    )


def test_the_gate_names_what_failed_and_what_is_gone(files):
    record = samples.profile(1.1, (8,))
    gone = changed(record, results=record.results[1:])
    (files / "gone.json").write_text(gone.to_json())
    said = " ".join(run("jan.json", "gone.json", "--fail-slower", "5%").output.split())
    assert "FAILED: 4 slower by more than 5 %; 2 not in every record " in said
    assert said.count("too slow: v2-small, ") == 4
    assert "Only in jan v2-small, shift alone of stage 0" in said


def test_without_a_gate_slower_is_no_failure(files):
    done = run("jan.json", "mar.json")
    assert done.exit_code == 0
    assert done.output.startswith("mar against jan: 4 slower, 8 equal, 4 undecided\n")


def test_json_is_a_record_that_can_be_read_back(files):
    done = run("jan.json", "feb.json", "mar.json", "--format", "json", "-o", "trend.json")
    assert json.loads(done.output)["schema"] == "s2mlp.compare/1"
    record = read_record("trend.json")
    assert [source.path for source in record.sources] == ["jan.json", "feb.json", "mar.json"]
    conv = next(row for row in record.results if row.quantity == "conv time")
    first = 3.2e-3 / 0.62
    assert conv.values == pytest.approx((first, 1.02 * first, 1.1 * first))
    assert conv.verdict == "slower"


def test_csv_has_a_column_for_every_source(files):
    rows = list(csv.DictReader(io.StringIO(run("jan.json", "mar.json", "--format", "csv").output)))
    assert float(rows[0]["jan"]) == pytest.approx(3.2e-3)
    assert float(rows[0]["low"]) < float(rows[0]["speed_ratio"]) == 1 < float(rows[0]["high"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["jan.json"], "give two records or more"),
        (
            ["jan.json", "feb.json", "--fail-slower", "five"],
            "'five' is not a percentage; use 5% or 0.05",
        ),
        (["jan.json", "feb.json", "--fail-slower", "5"], "'5' is not a percentage; use 5% or 0.05"),
        (["a.csv", "jan.json"], "two at a time"),
        (["a.csv", "b.csv", "--fail-slower", "5%"], "without records and without --fail-slower"),
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
        "theirs against ours: 2 better; top-1 76.00 % instead of 64.00 %",
        "",
        "100 images that both decoded",
        "Quantity            ours   theirs                     Change  Verdict",
        "top-1            64.00 %  76.00 %  +12.00 points (p = 0.012)  better",
        "right here only        4       16                        +12  better",
    ]


def validations(files, *right, named=(0, 1)):
    """Save a record and its predictions for each set of the images that are right."""
    for number, each in enumerate(right):
        save_predictions(files / f"{number}.csv", predictions(each))
        whole = samples.validate()
        result = whole.results[0].model_copy(
            update={
                "images": 100, "correct1": len(each), "top1": len(each) / 100,
                "predictions": f"elsewhere/{number}.csv" if number in named else None,
            }
        )  # fmt: skip
        record = whole.model_copy(update={"results": (result,)})
        (files / f"{number}.json").write_text(record.to_json())


def test_two_validations_are_judged_by_the_predictions_that_they_name(files):
    """The files were moved with their records: they are found beside them."""
    validations(files, range(64), range(4, 80))
    lines = [" ".join(line.split()) for line in run("0.json", "1.json").output.splitlines()]
    assert lines[:6] == [
        "1 against 0: 2 better, 1 equal; top-1 76.00 % instead of 64.00 %",
        "",
        "100 images of the set cdcdcdcdcdcd",
        "Quantity 0 1 Change Verdict",
        "top-1 64.00 % 76.00 % +12.00 points (p = 0.012) better",
        "right here only 4 16 +12 better",
    ]
    assert any(line.startswith("Top-1 is judged image by image with McNemar's") for line in lines)


@pytest.mark.parametrize("named", [(), (0,), (1,)])
def test_without_predictions_two_validations_are_judged_by_their_intervals(files, named):
    validations(files, range(64), range(4, 80), named=named)
    said = " ".join(run("0.json", "1.json").output.split())
    assert "p =" not in said
    assert "it needs files of `s2mlp validate --predictions`." in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda file: file.unlink(),
            "without McNemar's test: elsewhere/1.csv, the predictions of 1.json, is not there; put "
            "it beside it",
        ),
        (
            lambda file: save_predictions(file, predictions(range(5, 80))),
            "without McNemar's test: 1.csv does not hold the predictions of 1.json, but of another "
            "run; validate again with a --predictions of its own",
        ),
    ],
)
def test_predictions_that_are_gone_or_of_another_run_are_not_believed(files, change, sentence):
    validations(files, range(64), range(4, 80))
    change(files / "1.csv")
    done = run("0.json", "1.json")
    said = " ".join(done.output.split())
    assert done.exit_code == 0
    assert sentence in said
    assert "p =" not in said


def test_equal_scores_show_their_test_too(files):
    """50 right each, 10 of them only here and 10 only there: p = 1, which is what was asked."""
    save_predictions(files / "ours.csv", predictions(range(50)))
    save_predictions(files / "theirs.csv", predictions(range(10, 60)))
    lines = [" ".join(line.split()) for line in run("ours.csv", "theirs.csv").output.splitlines()]
    assert "top-1 50.00 % 50.00 % +0.00 points (p = 1) undecided" in lines
    assert "right here only 10 10 undecided" in lines


def test_a_gate_fails_with_3_when_a_shift_runs_no_longer(files):
    before = samples.profile(1.0, (8,))
    refused = changed(before.results[1], samples_s=(), median_s=None, skipped="wrong values: 0.3")
    after = changed(before, results=(before.results[0], refused, *before.results[2:]))
    (files / "after.json").write_text(after.to_json())
    done = run("jan.json", "after.json", "--fail-slower", "5%")
    said = " ".join(done.output.split())
    assert done.exit_code == 3
    assert "FAILED: 1 no longer timed" in said
    assert ": conv time: wrong values: 0.3" in said
    assert run("jan.json", "after.json").exit_code == 0
    help_text = " ".join(run("--help").output.split())
    assert "3 if --fail-slower fails" in help_text


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Two folders of records: a file in float32 and in int8, exported, timed and validated."""
    monkeypatch.chdir(tmp_path)
    for name, faster, correct in (("fp32", 1, 270), ("int8", 2, 268)):
        (tmp_path / name).mkdir()
        result = changed(samples.export().results[0], precision=name, bytes=120_000 // faster)
        export = changed(samples.export(), results=(result,))
        (tmp_path / name / "export.json").write_text(export.to_json())
        row = samples.timed("none", "model")
        own = {"model": f"{name}.onnx", "shift": None, "dtype": name, "runtime": "onnxruntime",
               "runtime_precision": name, "reference": None, "ratio_to_slice": None,
               "source": {"kind": "exported", "name": f"{name}.onnx", "path": f"{name}.onnx"},
               "samples_s": [each / faster for each in row["samples_s"]],
               "median_s": row["median_s"] / faster,
               "ci95_s": [each / faster for each in row["ci95_s"]]}  # fmt: skip
        profile = samples.frame(
            "profile", row | own, settings={"seed": 0, "min_time_s": 1, "max_time_s": 10}
        )
        profile = ProfileRecord.model_validate(profile)
        (tmp_path / name / "profile.json").write_text(profile.to_json())
        (tmp_path / name / "validate.json").write_text(samples.validate(correct).to_json())
    return tmp_path


def test_folders_are_compared_in_one_table_with_size_error_speed_and_accuracy(sides, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = run("fp32", "int8")
    words = " ".join(done.output.split())
    assert "int8 against fp32: " in words
    for row in (
        "size 117.2 KiB 58.59 KiB -",
        "relative error, sample images 3e-06 3e-06 equal",
        "as exported (onnxruntime) time 142.9 ms 71.43 ms 2.00× (",
        "top-1 90.00 % 89.33 % -0.67 points undecided",
    ):
        assert row in words
    assert "the exported files are fp32.onnx (fp32) and int8.onnx (int8)" in words
    assert "exported file, whole model, cpu, batch 8" in words


def test_a_kind_of_record_that_one_folder_lacks_is_named(sides):
    (sides / "int8" / "profile.json").unlink()
    words = " ".join(run("fp32", "int8").output.split())
    assert "only fp32 has a record of profile, which is left out" in words
    assert "top-1" in words


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("other.json", "other.json and int8/export.json are both records of export"),
        ("text.json", "int8/text.json"),
        (None, "there is no record in int8; save some there"),
    ],
)
def test_a_folder_has_one_record_of_each_kind_and_nothing_else(sides, written, says):
    if written == "other.json":
        (sides / "int8" / written).write_text((sides / "int8" / "export.json").read_text())
    elif written:
        (sides / "int8" / written).write_text("{}")
    else:
        for file in (sides / "int8").iterdir():
            file.unlink()
    with pytest.raises(RecordError, match=says):
        run("fp32", "int8")
