"""The command line: which commands there are, and the one place where errors become sentences."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
import warnings

import click

from s2mlp_cli._version import __version__
from s2mlp_cli.commands.stdout import print_in_any_encoding
from s2mlp_cli.commands.stopping import stopped_once
from s2mlp_cli.errors import S2MLPError, did_you_mean

# name -> the module whose ``command`` it is, in the order of ``s2mlp --help``.
COMMANDS = {
    "count": "s2mlp_cli.commands.count",
    "audit": "s2mlp_cli.commands.audit",
    "verify": "s2mlp_cli.commands.verify",
    "profile": "s2mlp_cli.commands.profile",
    "trace": "s2mlp_cli.commands.trace",
    "validate": "s2mlp_cli.commands.validate",
    "convert": "s2mlp_cli.commands.convert",
    "report": "s2mlp_cli.commands.report",
    "compare": "s2mlp_cli.commands.compare",
    "models": "s2mlp_cli.commands.models",
    "show": "s2mlp_cli.commands.show",
    "env": "s2mlp_cli.commands.env",
}


# A full disk, a quota that is used up, a file over the limit of the shell.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; a name that is not known gets the nearest one."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(
                f"there is no command '{cmd_name}'{did_you_mean(cmd_name, COMMANDS)}", ctx
            )
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        _name_variables(command, cmd_name)
        return command


def _name_variables(command: click.Command, name: str) -> None:
    """Let every option come from S2MLP_<COMMAND>_<OPTION>, named after the flag that users see.

    It goes before a variable that the option has of its own, which other programs may set.
    """
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            flag = max(parameter.opts, key=len).lstrip("-").replace("-", "_")
            own = parameter.envvar or ()
            own = (own,) if isinstance(own, str) else own
            parameter.envvar = tuple(dict.fromkeys((f"S2MLP_{name}_{flag}".upper(), *own)))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="s2mlp")
def group() -> None:
    """Count, time and validate spatial-shift MLPs (S2-MLP v1 and v2).

    Every option can also be given as a variable: S2MLP_COUNT_MODEL for `s2mlp count --model`
    (of a repeatable one, several values with blanks between).
    S2MLP_DEBUG=1 shows the traceback behind an error.
    """


def main() -> None:
    """Run the command line and end the process: 0, 1 (a fault), 2 (usage) or 130 (Ctrl-C).

    SIGTERM and SIGHUP end it as Ctrl-C does, with 143 and 129: what was measured is kept, and no
    process is left behind.
    """
    print_in_any_encoding()
    # Importing torch makes a million objects that stay: looking for garbage among them after every
    # 700 new ones takes a tenth of the time in which a command starts.
    gc.set_threshold(50_000)
    # fvcore decorates functions with torch.jit.script; its user can do nothing about that.
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.script`", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.script`", category=DeprecationWarning)
    try:
        with stopped_once():
            status = group.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # click takes it for the end of an answer
            raise
        click.secho("stopped", err=True, fg="red")
        sys.exit(130)
    except S2MLPError as error:
        if os.environ.get("S2MLP_DEBUG") == "1":
            raise
        click.secho(f"error: {error}", err=True, fg="red")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.EPIPE, *_NO_ROOM) or error.filename is not None:
            raise
        # The reader of a pipe left (`s2mlp models | head`), or the disk behind stdout is full.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno in _NO_ROOM:
            sentence = f"error: cannot write to stdout: {error.strerror}; free some space"
            click.secho(sentence, err=True, fg="red")
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
