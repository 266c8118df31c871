"""The reports in the repository: readable records, all listed, none of them stale."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from s2mlp_cli.commands.report import command
from s2mlp_cli.records.reading import read_record

ROOT = Path(__file__).parent.parent
REPORTS = ROOT / "reports"
INDEX = (REPORTS / "README.md").read_text(encoding="utf-8")
# What the scripts of benchmarks/ wrote lies here, and is no record of s2mlp.
OTHERS = "benchmarks"

RECORDS = sorted(path for path in REPORTS.rglob("*.json") if path.parent.name != OTHERS)
# Of the index: record, how to read it, what made it.
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in INDEX.splitlines()
    if line.startswith("| [")
]

# The lines of the index that make reports from records.
MADE = [shlex.split(line) for line in INDEX.splitlines() if line.startswith("    s2mlp report ")]


def links(text):
    return [part.partition(")")[0] for part in text.split("](")[1:]]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_can_be_read_and_stands_in_the_index_with_its_command(path):
    record = read_record(path)
    assert record.results
    (row,) = (row for row in ROWS if links(row[0]) == [str(path.relative_to(REPORTS))])
    assert f"`{shlex.join(record.command)}`" in row[2]
    assert links(row[1]) == [str(path.with_suffix(".md").relative_to(REPORTS))]


def test_the_index_lists_records_only_and_links_to_files():
    listed = [REPORTS / links(row[0])[0] for row in ROWS]
    assert sorted(listed) == RECORDS
    assert [name for name in links(INDEX) if not (REPORTS / name).is_file()] == [f"{OTHERS}/"]
    assert (REPORTS / OTHERS).is_dir()


def test_every_report_has_the_line_that_makes_it():
    reports = [*REPORTS.rglob("*.md"), *REPORTS.rglob("*.html")]
    made = [path for path in reports if path.parent.name != OTHERS and path.name != "README.md"]
    assert sorted(line[-1] for line in MADE) == sorted(str(path.relative_to(ROOT)) for path in made)


@pytest.mark.parametrize("line", MADE, ids=lambda line: line[-1])
def test_a_report_is_what_its_records_say_today(line, tmp_path):
    *records, flag, target = line[2:]
    assert flag == "-o"
    committed, renewed = ROOT / target, tmp_path / Path(target).name
    paths = [str(ROOT / record) for record in records]
    CliRunner().invoke(command, [*paths, "-o", str(renewed)], catch_exceptions=False)
    assert stable(renewed) == stable(committed), f"run {shlex.join(line)}"
    pictures = [path.name for path in tmp_path.glob("*.svg")]
    assert sorted(pictures) == sorted(
        path.name for path in committed.parent.glob(f"{committed.stem}-*.svg")
        if f"]({path.name})" in committed.read_text(encoding="utf-8")
    )  # fmt: skip
    for name in pictures:
        assert stable(tmp_path / name) == stable(committed.with_name(name))


def stable(path):
    """Return a report without what versions of libraries draw differently: lines of pictures."""
    text = re.sub(r"s2mlp \d+\.\d+\.\d+", "s2mlp", path.read_text(encoding="utf-8"))
    return re.sub(r"<svg.*?</svg>", lambda svg: words(svg[0]), text, flags=re.DOTALL)


def words(svg):
    label = re.findall(r'aria-label="([^"]*)"', svg)
    texts = re.findall(r"<text[^>]*>(.*?)</text>", svg)
    return "\n".join(sorted([*label, *(text for text in texts if not is_tick(text))]))


def is_tick(text):
    """Tell the numbers of an axis, which are matplotlib's choice, from values in four digits."""
    number = re.fullmatch(r"\d+(\.\d+)?", text)
    return bool(number) and not (number[1] and len(text.replace(".", "").lstrip("0")) == 4)


def test_the_page_holds_every_record():
    (line,) = (line for line in MADE if line[-1].endswith(".html"))
    assert sorted(line[2:-2]) == sorted(str(path.relative_to(ROOT)) for path in RECORDS)


def test_a_stale_picture_or_number_is_found(tmp_path):
    path = tmp_path / "a.html"
    path.write_text("<p>s2mlp 0.1.0: 55.27 M</p><svg d='1'><text x='1'>5.200</text></svg>")
    before = stable(path)
    assert before == "<p>s2mlp: 55.27 M</p>5.200"
    path.write_text(
        "<p>s2mlp 0.2.0: 55.27 M</p><svg d='2'><text x='2'>5.200</text><text>80</text></svg>"
    )
    assert stable(path) == before
    path.write_text("<p>s2mlp 0.2.0: 55.27 M</p><svg d='2'><text x='2'>5.300</text></svg>")
    assert stable(path) != before


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
