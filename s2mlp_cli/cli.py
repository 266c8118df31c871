"""The command line: its commands, and the one place where errors and signals end it in order."""

from __future__ import annotations

import codecs
import errno
import gc
import importlib
import io
import os
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from s2mlp_cli._version import __version__
from s2mlp_cli.errors import S2MLPError, did_you_mean, printable
from s2mlp_cli.files import NO_ROOM

# name -> the module whose ``command`` it is, in the order of ``s2mlp --help``.
COMMANDS = {
    "count": "s2mlp_cli.commands.count",
    "audit": "s2mlp_cli.commands.audit",
    "verify": "s2mlp_cli.commands.verify",
    "profile": "s2mlp_cli.commands.profile",
    "trace": "s2mlp_cli.commands.trace",
    "validate": "s2mlp_cli.commands.validate",
    "export": "s2mlp_cli.commands.export",
    "convert": "s2mlp_cli.commands.convert",
    "report": "s2mlp_cli.commands.report",
    "compare": "s2mlp_cli.commands.compare",
    "models": "s2mlp_cli.commands.models",
    "show": "s2mlp_cli.commands.show",
    "env": "s2mlp_cli.commands.env",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; an unknown name gets the nearest one."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(
                f"there is no command '{cmd_name}'{did_you_mean(cmd_name, COMMANDS)}", ctx
            )
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        _name_variables(command, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and refuse an option of one value that is given twice."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            _refuse_repeats(click.Context(command, parent=ctx, info_name=name), rest)
        return name, command, rest


def _refuse_repeats(ctx: click.Context, arguments: list[str]) -> None:
    """Raise where only the last of several values would count: click takes it in silence."""
    try:
        _, _, order = ctx.command.make_parser(ctx).parse_args(list(arguments))
    except click.UsageError:  # the command itself says it better
        return
    for parameter, times in Counter(order).items():
        single = isinstance(parameter, click.Option) and not (
            parameter.multiple or parameter.is_flag or parameter.count
        )
        if single and times > 1:
            raise click.UsageError(
                f"{max(parameter.opts, key=len)} is given {times} times, and takes one value", ctx
            )


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
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 160},
)
@click.version_option(__version__, prog_name="s2mlp")
def group() -> None:
    """Count, time and validate spatial-shift MLPs (S2-MLP v1 and v2).

    Every option can also be set with an environment variable, such as S2MLP_COUNT_MODEL for
    `s2mlp count --model`. Separate multiple values with spaces.
    S2MLP_DEBUG=1 shows the traceback behind an error.
    """


# Plain characters for what an ASCII terminal lacks.
_PLAIN = {
    "×": "x", "–": "-", "−": "-", "…": "...", "µ": "u", "•": "*", "→": "->", "·": ".", "│": "|",
    "←": "<-", "↑": "^", "↓": "v", "↖": "^<", "↗": "^>", "↙": "v<", "↘": "v>",
}  # fmt: skip


def _print_in_any_encoding() -> None:
    """Let output take every character: an ASCII terminal has no ×, and UTF-8 no undecoded name."""
    codecs.register_error("s2mlp", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="s2mlp")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace what a terminal's encoding lacks: the codecs module calls this."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    named = ((each, printable(each)) for each in missing)
    return "".join(
        text if text != each else _PLAIN.get(each, "?") for each, text in named
    ), error.end


# Ctrl-C; what `kill`, batch systems and containers send; a terminal that is closed.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def stopped_once() -> Iterator[None]:
    """Let the first signal end the block by an exception, and ignore later ones meanwhile.

    So progress is saved, worker processes end, and an impatient second Ctrl-C breaks none of it. A
    signal that is ignored from outside (`nohup`) stays ignored.

    Raises:
        KeyboardInterrupt: on SIGINT.
        SystemExit: on the others, with the shell's status for them, 128 + number.
    """
    signals = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    heard = [each for each in signals if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.getsignal(each) for each in heard}

    def stop(number: int, _: FrameType | None) -> NoReturn:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    finally:
        if any(signal.getsignal(each) is stop for each in heard):  # nothing stopped it
            for each, handler in before.items():
                signal.signal(each, handler)


def main() -> None:
    """Run the command line and end the process.

    Its status is 0, 1 (error), 2 (usage), 3 (a gate that fails) or 130 (Ctrl-C). SIGTERM and SIGHUP
    end it as Ctrl-C does, with 143 and 129: results so far are kept, and no process is left behind.
    """
    _print_in_any_encoding()
    if sys.stdout is None:  # better now than after an hour of measuring
        click.secho("error: stdout is closed; redirect it to a file or /dev/null", err=True)
        sys.exit(1)
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
        if error.errno not in (errno.EPIPE, *NO_ROOM) or error.filename is not None:
            raise
        # The reader of a pipe left (`s2mlp models | head`), or the disk behind stdout is full.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno in NO_ROOM:
            sentence = f"error: cannot write to stdout: {error.strerror}; free some space"
            click.secho(sentence, err=True, fg="red")
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
