"""`s2mlp` in this process, boundary and all: to start Python and import torch takes seconds."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from click.testing import CliRunner

from s2mlp_cli import cli


class CommandLine:
    """`s2mlp_cli.cli.main` in the form in which CliRunner calls a command."""

    name = "s2mlp"

    def main(self, args, prog_name, **_):
        with mock.patch.object(sys, "argv", [prog_name, *args]):
            cli.main()


def invoke(*words):
    """Run a command; what it raises beside SystemExit is kept in the result."""
    return CliRunner().invoke(CommandLine(), [str(word) for word in words])


def s2mlp(*words, cwd=None, **variables):
    """Run a command in a folder and with variables, as if by a process of its own."""
    before = Path.cwd()
    os.chdir(cwd or before)
    try:
        with mock.patch.dict(os.environ, variables):
            result = invoke(*words)
    finally:
        os.chdir(before)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)
