"""Every console block of README.md and docs/ is run; where it shows output, that is compared."""

import re

import pytest

from tests.readme import CODE, PAGES, README, check_options, examples, prepare, tidy
from tests.readme import run as run_example

TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
EXAMPLES = [(page.name, example) for page in PAGES for example in examples(TEXTS[page])]
UNCHECKED = ("not run", "your data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all pages, in their order: a line may read what another wrote."""
    path = tmp_path_factory.mktemp("readme")
    prepare(path)
    return path


def of(*marks):
    """Parameters of the examples with one of ``marks``; of all that are run, without any."""
    return [
        pytest.param(example, id=f"{page}: {example.command}")
        for page, example in EXAMPLES
        if (example.mark in marks if marks else example.mark not in UNCHECKED)
    ]


@pytest.mark.parametrize("example", of())
def test_console_block(example, folder):
    done = run_example(example, folder)
    assert done.returncode == example.exit_code, done.stderr
    if example.mark != "varies" and example.output.strip():
        assert example.shown(done) == tidy(example.output)


@pytest.mark.parametrize("example", of("your data"))
def test_console_block_on_small_data(example, folder):
    done = run_example(example, folder)
    assert done.returncode == 0, done.stderr
    assert "98.33%" in done.stdout


@pytest.mark.parametrize("example", of("not run"))
def test_the_options_of_what_takes_too_long_exist(example):
    if example.command.startswith("make "):
        target = example.command.removeprefix("make ").split()[0]
        assert re.search(rf"^{target}:", (README.parent / "Makefile").read_text(), re.MULTILINE)
    else:
        check_options(example.command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_prints_the_comments_below_it(page, monkeypatch, folder, capsys):
    monkeypatch.chdir(folder)
    for block in CODE.finditer(TEXTS[page]):
        exec(compile(block["body"], page.name, "exec"), {})
        printed = capsys.readouterr().out
        assert printed.splitlines() == re.findall(r"^# (.*)$", block["body"], re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXTS[page])
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_users_three_lines_stand_in_the_readme():
    for line in ("count --model v2-medium", "profile --shift conv", "validate --ckpt path"):
        assert f"$ s2mlp {line}\n" in TEXTS[README]


def test_every_command_is_in_the_readme():
    from s2mlp_cli.cli import COMMANDS

    assert [name for name in COMMANDS if f"s2mlp {name}" not in TEXTS[README]] == []
