import json

import pytest
from click.testing import CliRunner

from s2mlp_cli.commands.verify import command
from s2mlp_cli.records.verify import VerifyRecord
from s2mlp_cli.shifts import registry
from s2mlp_cli.shifts.types import ShiftFunction


def run(*arguments):
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def test_all_means_every_safe_one_and_inplace():
    done = run("--dtype", "bf16", "--device", "cpu", "--format", "json")
    record = VerifyRecord.model_validate_json(done.stdout)
    assert [result.implementation for result in record.results] == [
        *registry.parse("all"),
        "inplace",
    ]
    assert done.return_value == 0
    assert json.loads(done.stdout)["schema"] == "s2mlp.verify/1"
    assert {case.dtype for result in record.results for case in result.cases} == {"bf16"}


def test_the_seed_changes_the_numbers_and_not_the_verdict():
    first, second = (
        run("--shift", "inplace", "--dtype", "fp32", "--seed", seed, "--format", "json")
        for seed in ("1", "2")
    )
    results = [VerifyRecord.model_validate_json(done.stdout).results[0] for done in (first, second)]
    assert [result.seed for result in results] == [1, 2]
    assert results[0].max_error != results[1].max_error
    assert results[0].verdict == results[1].verdict == "wrong as known"
    assert first.return_value == second.return_value == 0


def test_a_wrong_implementation_ends_with_1(monkeypatch):
    broken = ShiftFunction("slice", "", lambda x, directions: x.flip(1))
    monkeypatch.setattr(registry, "get", lambda name: broken)
    done = run("--shift", "slice", "--dtype", "fp32,fp64", "--device", "cpu")
    assert done.return_value == 1
    assert "WRONG: slice" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shift", "slic"], "there is no shift implementation 'slic'"),
        (["--device", "tpu"], "there is no device 'tpu' here"),
    ],
)
def test_user_errors(arguments, message):
    done = run(*arguments)
    assert message in str(done.exception)


def test_saves_by_ending(tmp_path):
    saved = tmp_path / "verify.md"
    run("--shift", "gather", "--dtype", "fp32", "--device", "cpu", "-o", str(saved))
    assert saved.read_text().splitlines()[2].startswith("| gather | shift | True | cpu | 0 | right")
