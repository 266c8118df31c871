"""The command line: what it imports, how it fails, how it prints."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from s2mlp_cli.cli import COMMANDS, group
from s2mlp_cli.commands.options import GroupedCommand
from s2mlp_cli.errors import SpecError
from tests.command_line import s2mlp
from tests.readme import check_options

ROOT = Path(__file__).parent.parent


def python(code):
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)


def shell(line, **variables):
    return subprocess.run(
        line.replace("s2mlp", f"{sys.executable} -m s2mlp_cli"),
        shell=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **variables},
        timeout=60, check=False,
    )  # fmt: skip


def test_light_commands_do_not_import_torch():
    code = (
        "import sys; from s2mlp_cli.cli import main\n"
        "for line in ('--help', 'models', 'show v2-medium', 'count --help'):\n"
        "    sys.argv = ['s2mlp', *line.split()]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, (line, end.code)\n"
        "    heavy = {'torch', 'timm', 'matplotlib', 'fvcore'} & set(sys.modules)\n"
        "    assert not heavy, (line, heavy)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_every_command_is_listed_with_a_whole_sentence():
    shown = CliRunner().invoke(group, ["--help"], terminal_width=80).output
    listed = shown.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed), listed


@pytest.mark.parametrize("name", ["profile", "validate", "export"])
def test_many_options_are_listed_under_headings_each_once(name):
    command = group.get_command(click.Context(group), name)
    assert isinstance(command, GroupedCommand)
    shown = CliRunner().invoke(group, [name, "--help"], terminal_width=80).output
    places = [shown.index(f"\n{heading}:\n") for heading in (*command.groups, "Help")]
    assert places == sorted(places)
    for parameter in command.params:
        assert shown.count(f"{max(parameter.opts, key=len)} ") >= 1, parameter.name
    listed = [each.name for group in command.groups.values() for each in group]
    assert listed == [each.name for each in command.params]


def test_a_pipe_that_ends_early_is_no_ctrl_c():
    """click takes every EOFError for an answer that nobody gave."""
    code = (
        "import sys; from s2mlp_cli.cli import main; from s2mlp_cli.commands import models\n"
        "def broken(**_): raise EOFError('a pipe ended')\n"
        "models.command.callback = broken; sys.argv = ['s2mlp', 'models']; main()"
    )
    done = python(code)
    assert done.returncode == 1
    assert "EOFError: a pipe ended" in done.stderr


def test_the_program_ends_at_once_but_not_without_what_was_registered_for_the_end():
    code = (
        "import atexit, sys; atexit.register(print, 'the end'); sys.argv = ['s2mlp', '--version']\n"
        "from s2mlp_cli.__main__ import program; program()"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["the end"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_line_by_line_whose_options_exist(name):
    shown = CliRunner().invoke(group, [name, "--help"], terminal_width=80).output
    examples = shown.partition("Examples:\n")[2].splitlines()
    assert any(line.startswith(f"    s2mlp {name}") for line in examples)
    for line in examples:
        assert line.startswith("    s2mlp "), line
        check_options(line)


def test_the_users_own_line(tmp_path):
    done = s2mlp("count", "--model", "v2-medium", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("S2-MLPv2-Medium/7 at 224x224: 55.27 M parameters, 16.28 G MACs")
    assert "published: 55M parameters, 16.3B MACs" in " ".join(done.stdout.split())
    assert done.stderr == ""


def test_json_is_one_document_and_nothing_else():
    done = s2mlp("count", "--model", "v2-small", "--format", "json")
    record = json.loads(done.stdout)
    assert record["schema"] == "s2mlp.count/1"
    assert record["results"][0]["macs_matmul"] == 6_901_767_168
    assert record["environment"]["packages"]["torch"]


def test_an_error_is_one_sentence_and_exit_1():
    done = s2mlp("count", "--model", "v2-mediun")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: there is no model 'v2-mediun'; did you mean 'v2-medium'? `s2mlp models` lists "
        "them; a path to a YAML file and timm:NAME work too\n"
    )


def test_debug_shows_the_traceback():
    with pytest.raises(SpecError):
        s2mlp("count", "--model", "v2-mediun", S2MLP_DEBUG="1")


def test_usage_errors_exit_2():
    for arguments in (
        ["count"],
        ["count", "--nonsense"],
        ["cuont"],
        ["count", "--input-size", "0"],
    ):
        done = s2mlp(*arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
    assert "did you mean 'count'?" in s2mlp("cuont").stderr


def test_options_come_from_variables_too():
    done = s2mlp("count", S2MLP_COUNT_MODEL="v2-small", S2MLP_COUNT_FORMAT="csv")
    assert done.stdout.splitlines()[1].startswith("v2-small,")


def test_the_variable_of_a_command_goes_before_the_shared_one():
    given = {"S2MLP_DATA": "/no/shared", "S2MLP_VALIDATE_DATA": "/no/own"}
    assert "nothing at /no/own;" in s2mlp("validate", "--ckpt", "sample", **given).stderr
    del given["S2MLP_VALIDATE_DATA"]
    assert "nothing at /no/shared;" in s2mlp("validate", "--ckpt", "sample", **given).stderr


def test_a_closed_pipe_is_no_traceback():
    assert "Traceback" not in shell("s2mlp models | head -1").stderr


def test_a_stdout_that_is_closed_is_said_before_the_work():
    done = shell("s2mlp models >&-")
    assert done.returncode == 1
    assert done.stderr == "error: stdout is closed; redirect it to a file or /dev/null\n"


def test_no_colour_codes_when_piped_or_told_so():
    assert "\x1b" not in shell("s2mlp models").stdout
    colour = re.compile(r"\x1b\[(?![012]m)")  # bold and dim are none
    assert not colour.search(shell("s2mlp models", NO_COLOR="1", FORCE_COLOR="1").stdout)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["profile", "--device", "cpu", "--device", "cpu"], "--device"),
        (["count", "-o", "a.json", "--model", "v2-small", "--output=b.json"], "--output"),
        (["trace", ".", "--port", "1", "--port", "2"], "--port"),
        (["validate", "--seed", "1", "--seed", "1"], "--seed"),
    ],
)
def test_an_option_of_one_value_is_not_given_twice(arguments, option):
    done = CliRunner().invoke(group, arguments)
    assert done.exit_code == 2
    assert f"{option} is given 2 times, and takes one value" in done.output


def test_repeatable_options_and_flags_may_be_repeated():
    done = CliRunner().invoke(group, ["count", "-m", "no-such", "--model", "x", "--help"])
    assert done.exit_code == 0


@pytest.mark.parametrize(("columns", "widest"), [(80, 78), (120, 118)])
def test_help_uses_the_width_of_the_terminal(columns, widest):
    done = shell("s2mlp profile --help", COLUMNS=str(columns))
    longest = max(len(line) for line in done.stdout.splitlines())
    assert widest - 10 < longest <= columns


def test_ctrl_c_while_the_program_is_imported_shows_no_traceback():
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 's2mlp_cli.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from s2mlp_cli.__main__ import program; program()"
    )
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")
