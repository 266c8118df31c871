"""The reports in the repository: readable records, all listed, none of them stale."""

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from s2mlp_cli.commands.report import command
from s2mlp_cli.records.reading import read_record

ROOT = Path(__file__).parent.parent
REPORTS = ROOT / "reports"
RECORDS = sorted(
    path for path in REPORTS.rglob("*.json") if path.parent.name != "benchmarks"
)  # benchmarks/ hold what their scripts wrote, which are no records of s2mlp


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_can_be_read_and_names_its_command(path):
    record = read_record(path)
    assert record.results
    assert record.command[0] == "s2mlp"
    index = (REPORTS / "README.md").read_text(encoding="utf-8")
    assert f"({path.relative_to(REPORTS)})" in index


def test_the_index_names_only_what_is_there():
    index = (REPORTS / "README.md").read_text(encoding="utf-8")
    linked = [part.partition(")")[0] for part in index.split("](")[1:]]
    assert linked
    assert [name for name in linked if not (REPORTS / name).exists()] == []


@pytest.mark.parametrize(
    "path", [path for path in RECORDS if path.with_suffix(".md").exists()], ids=lambda p: p.stem
)
def test_the_markdown_is_what_its_record_says_today(path, tmp_path):
    target = tmp_path / f"{path.stem}.md"
    CliRunner().invoke(command, [str(path), "-o", str(target)], catch_exceptions=False)
    assert target.read_text() == path.with_suffix(".md").read_text(encoding="utf-8")


def load_script():
    path = ROOT / "benchmarks" / "terminal_pictures.py"
    found = importlib.util.spec_from_file_location("terminal_pictures", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


SCRIPT = load_script()


@pytest.mark.parametrize("name", SCRIPT.SHOWN)
def test_the_pictures_of_the_terminal_show_what_is_printed_today(name):
    committed = (SCRIPT.PICTURES / f"{name}.svg").read_text(encoding="utf-8")
    assert SCRIPT.texts(SCRIPT.picture(name)) == SCRIPT.texts(committed), (
        "run python benchmarks/terminal_pictures.py"
    )
    assert "url(http" not in committed
    assert "@font-face" not in committed


def test_a_picture_that_changed_is_found():
    svg = "<text x='1'>55.27 M</text>"
    assert SCRIPT.texts(svg) == ["55.27 M"]
    assert SCRIPT.texts(svg) != SCRIPT.texts(svg.replace("27", "28"))


def test_the_records_are_json_without_numbers_that_json_lacks():
    for path in RECORDS:
        text = path.read_text(encoding="utf-8")
        json.loads(text, parse_constant=pytest.fail)
