"""`s2mlp report`: files in, one file out."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from s2mlp_cli.cli import main
from s2mlp_cli.commands.report import command
from tests import samples
from tests.command_line import s2mlp


@pytest.fixture
def folder(tmp_path):
    for kind, make in samples.ALL.items():
        (tmp_path / f"{kind}.json").write_text(make().to_json())
    return tmp_path


def test_all_kinds_in_one_html_file(folder):
    done = s2mlp("report", *(f"{kind}.json" for kind in samples.ALL), "-o", "all.html", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all.html\n", "")
    assert (folder / "all.html").read_text().startswith("<!doctype html>")
    assert len(list(folder.iterdir())) == len(samples.ALL) + 1


def test_markdown_has_its_pictures_beside_it(folder):
    done = s2mlp("report", "profile.json", "-o", "speed.md", "--title", "Speed", cwd=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / "speed.md").read_text()
    pictures = sorted(path.name for path in folder.glob("*.svg"))
    assert text.startswith("# Speed\n")
    assert pictures == [
        "speed-bandwidth-1.svg", "speed-bandwidth-2.svg", "speed-batch-1.svg", "speed-speed-1.svg",
        "speed-speed-2.svg",
    ]  # fmt: skip
    assert all(f"]({name})" in text for name in pictures)


def test_a_terminal_that_is_too_narrow_cuts_no_column_off(folder):
    done = s2mlp("report", "count.json", cwd=folder, COLUMNS="30")
    assert "operations" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 40


def test_pictures_of_two_records_do_not_overwrite_each_other(folder):
    record = samples.trace()
    odd = record.results[0].model_copy(update={"run": "runs/of today"})
    (folder / "odd.json").write_text(record.model_copy(update={"results": (odd, odd)}).to_json())
    done = s2mlp("report", "trace.json", "odd.json", "-o", "t.md", cwd=folder)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in folder.glob("*.svg"))
    assert names == ["t-scopes-2.svg", "t-scopes.svg"]
    assert all(f"]({name})" in (folder / "t.md").read_text() for name in names)


def test_the_terminal_is_what_the_commands_print(folder):
    done = s2mlp("report", "verify.json", "count.json", cwd=folder, COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 implementations match the reference" in done.stdout
    assert "\x1b" not in done.stdout
    saved = s2mlp("report", "verify.json", "count.json", "-o", "all.txt", cwd=folder)
    assert saved.returncode == 0, saved.stderr
    assert "6.900 G MACs" in (folder / "all.txt").read_text()


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_figures_are_files_of_their_own(folder, form):
    target = folder / "new" / "figures"
    arguments = [str(folder / "count.json"), "--figures", str(target), "--as", form]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    (path,) = target.iterdir()
    assert path.name == f"modules-v2-small-224x224.{form}"
    assert done.stdout == f"{path}\n"


def test_latex_has_every_table(folder):
    target = folder / "tables.tex"
    arguments = [str(folder / f"{kind}.json") for kind in samples.ALL]
    CliRunner().invoke(command, [*arguments, "-o", str(target)], catch_exceptions=False)
    assert r"v1 table 3, deep & 51M & agrees in binary units &" in target.read_text()


def test_two_validations_of_the_same_images_compare_themselves(folder):
    (folder / "other.json").write_text(samples.validate(240).to_json())
    arguments = [str(folder / "validate.json"), str(folder / "other.json"), "--format", "markdown"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "## Comparison of validate records: validate, other" in done.stdout
    assert "other against validate: 1 worse" in done.stdout
    alone = CliRunner().invoke(command, [arguments[0], arguments[2], arguments[3]])
    assert "Comparison" not in alone.stdout


def test_markdown_on_stdout_says_what_is_missing(folder):
    done = s2mlp("report", "count.json", "--format", "markdown", cwd=folder)
    assert done.stdout.startswith("# S2-MLP measurements\n")
    assert "![" not in done.stdout
    assert "pictures are left out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["report", "none.json"], 1, "error: cannot read none.json: No such file or directory"),
        (["report", "count.json", "-o", "x.pdf"], 2, "cannot tell the format from 'x.pdf'"),
        (["report", "verify.json", "-o", "no/x.html"], 1, "error: cannot write no/x.html"),
        (["report"], 2, "report [OPTIONS] RECORDS..."),
    ],
)
def test_faults_are_sentences(folder, monkeypatch, capsys, arguments, code, sentence):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["s2mlp", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    assert sentence in capsys.readouterr().err


def test_neither_report_nor_compare_imports_torch(folder):
    code = (
        "import sys; from s2mlp_cli.cli import main\n"
        "for line in ('report count.json -o x.html', 'report validate.json --format terminal',\n"
        "             'compare profile.json profile.json'):\n"
        "    sys.argv = ['s2mlp', *line.split()]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, (line, end.code)\n"
        "    heavy = {'torch', 'timm', 'fvcore', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "    assert not heavy, (line, heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        check=False,
    )
    assert done.returncode == 0, done.stderr
