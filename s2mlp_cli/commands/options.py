"""Options that several commands share: their types, their decorators, their groups in --help."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from s2mlp_cli.commands.output import ENDINGS, FORMATS
from s2mlp_cli.errors import WriteError
from s2mlp_cli.files import check_writable
from s2mlp_cli.records.base import LARGEST_BATCH
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs.model import MAX_PIXELS

Function = TypeVar("Function", bound=Callable[..., Any])
Given = TypeVar("Given")


def image_size(text: str) -> tuple[int, int]:
    """Return (height, width) in pixels from ``224`` or ``288x224``."""
    match = re.fullmatch(r"([1-9]\d*)(?:[x×]([1-9]\d*))?", text.strip())
    if match is None:
        raise click.BadParameter(f"'{text}' is not an image size; use 224 or 288x224")
    sides = match[1], match[2] or match[1]
    if any(len(side) > 5 or int(side) > MAX_PIXELS for side in sides):
        raise click.BadParameter(f"'{text}' is too large; a side has at most {MAX_PIXELS} pixels")
    return int(sides[0]), int(sides[1])


def batch_sizes(text: str) -> tuple[int | None, ...]:
    """Return numbers of images, each once, from ``1,8,64``; ``max`` becomes None."""
    sizes = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for size in sizes:
        number = size.isascii() and size.isdecimal() and 0 < int(size) <= LARGEST_BATCH
        if not number and size != "max":
            raise click.BadParameter(f"'{size}' is not a batch size; use 1, or 8,64, or max")
    return tuple(None if size == "max" else int(size) for size in sizes)


def percentage(text: str) -> float:
    """Return 0.05 from ``5%`` or ``0.05``."""
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,6})?)\s*(%?)", text.strip())
    if match is None or (not match[2] and float(match[1]) >= 1):  # a gate of 5 means 5 %
        raise click.BadParameter(f"'{text}' is not a percentage; use 5% or 0.05")
    return float(match[1]) / (100 if match[2] else 1)


class Finite(click.FloatRange):
    """A number within a range; click's own range lets ``nan`` pass, which ends no measurement."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number", param, ctx)
        return number


class OutputFile(click.Path):
    """A file to write, of a record unless told otherwise; its ending says in which form."""

    def __init__(self, endings: Iterable[str] = ENDINGS) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.endings = tuple(endings)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail with the endings that are known."""
        path = Path(super().convert(value, param, ctx))  # type: ignore[arg-type]
        try:
            check_writable(path, "choose another")
        except WriteError as error:
            self.fail(str(error), param, ctx)
        if path.suffix not in self.endings:
            self.fail(f"'{path}' should end with {', '.join(self.endings)}", param, ctx)
        return path


class Words(click.ParamType[tuple[str, ...]]):
    """A list of known words with commas between: ``fp32,bf16``."""

    name = "words"

    def __init__(self, known: tuple[str, ...]) -> None:
        self.known = known

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return ",".join(self.known)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the words in the order given, each once."""
        words = tuple(dict.fromkeys(word.strip() for word in str(value).split(",")))
        for word in words:
            if word not in self.known:
                self.fail(f"'{word}' is not one of {', '.join(self.known)}", param, ctx)
        return words


def complete_models(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the built-in specs whose names begin so; if there is none, the shell offers files."""
    from s2mlp_cli.specs import names

    found = [CompletionItem(name) for name in names() if name.startswith(begun)]
    return found or [CompletionItem(begun, type="file")]


def complete_shift(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    return [name for name in registry.NAMES if name.startswith(begun)]


def complete_shifts(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the ways to complete the last name of a list: ``conv,ga`` to ``conv,gather``."""
    before, comma, last = begun.rpartition(",")
    known = registry.NAMES if comma else (*registry.NAMES, "all")
    taken = before.split(",")
    return [before + comma + name for name in known if name.startswith(last) and name not in taken]


def complete_devices(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the kinds of device; which of them are here only torch could tell."""
    return [name for name in ("cpu", "cuda") if name.startswith(begun)]


def complete_files(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(begun, type="file")]


def models(default: str | None = None) -> Callable[[Function], Function]:
    """``--model``, repeatable: whatever :func:`s2mlp_cli.measure.source.open_model` opens."""
    return click.option(
        "--model",
        "-m",
        "models",
        multiple=True,
        metavar="NAME|FILE|FILE.py:NAME",
        shell_complete=complete_models,
        default=(default,) if default else (),
        show_default=bool(default),
        help="A built-in name (see `s2mlp models`), a YAML spec, timm:NAME, a checkpoint, or a "
        "function or class in a Python file, such as net.py:build. Repeatable.",
    )


ckpts = click.option(
    "--ckpt",
    "ckpts",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_files,
    help="A checkpoint; its architecture is read off its tensors, or named by --model. Repeatable.",
)

ema = click.option("--ema", is_flag=True, help="Use the averaged (EMA) weights.")

weights = click.option(
    "--weights",
    metavar="KEY",
    help="Key of the weights, or prefix of their names, in a checkpoint that has several.",
)

in_channels = click.option(
    "--in-channels",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Channels of the images instead of the model's own. Default for Python code: 3.",
)

overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the spec, such as stages.0.depth=2, or set an argument of Python code. "
    "Repeatable.",
)

input_size = click.option(
    "--input-size",
    type=image_size,
    metavar="H[xW]",
    help="Image size instead of the spec's: 288, or 288x224.",
)

input_sizes = click.option(
    "--input-size",
    "input_sizes",
    type=image_size,
    metavar="H[xW]",
    multiple=True,
    help="Image size instead of the spec's: 288, or 288x224. Repeatable.",
)


def shift(default: str | None = registry.DEFAULT) -> Callable[[Function], Function]:
    """``--shift``: one implementation of the spatial shift by name."""
    return click.option(
        "--shift",
        default=default,
        show_default=default is not None,
        metavar="NAME",
        shell_complete=complete_shift,
        help=f"Implementation of the spatial shift: {', '.join(registry.NAMES)}.",
    )


def shifts(default: str) -> Callable[[Function], Function]:
    """``--shift``: a list of implementations, or ``all``."""
    return click.option(
        "--shift",
        "shifts",
        default=default,
        show_default=True,
        metavar="NAME[,NAME…]|all",
        shell_complete=complete_shifts,
        help=f"Implementations of the spatial shift: {', '.join(registry.NAMES)}; your own in a "
        "Python file: mine.py:my_shift.",
    )


def seed(of: str) -> Callable[[Function], Function]:
    """``--seed``: a number that numpy's and torch's generators both take."""
    return click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help=of
    )


device = click.option(
    "--device",
    metavar="DEVICE",
    shell_complete=complete_devices,
    help="cpu, cuda or cuda:1. Default: the GPU if there is one.",
)


output_format = click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="What to print on stdout.",
)

output_file = click.option(
    "--output",
    "-o",
    type=OutputFile(),
    help=f"Save the record as well; the ending says how: {', '.join(ENDINGS)}.",
)


def output(function: Function) -> Function:
    """``--format`` for stdout and ``-o`` for a file."""
    return output_file(output_format(function))


def option(*names: str, heading: str | None = None, **settings: Any) -> Any:
    """Return a field of the dataclass of a :func:`command`, with the arguments of click's option.

    The option is called like the field, unless a long name is given, and sets the field; a field
    of bool is a flag.
    """

    def made_for(field: dataclasses.Field[Any]) -> Callable[[Any], Any]:
        has_long = any(name.startswith("--") for name in names)
        long = () if has_long else ("--" + field.name.replace("_", "-"),)
        flag: dict[str, Any] = {"is_flag": True} if field.type == "bool" else {}
        return click.option(*long, *names, field.name, **flag, **settings)

    return dataclasses.field(metadata={"option": made_for, "heading": heading})


def as_field(option: Callable[[Any], Any], heading: str | None = None) -> Any:
    """Return the field of an option that commands share; one with a heading begins a list."""
    return dataclasses.field(metadata={"option": lambda field: option, "heading": heading})


def command(
    given: type[Given], **settings: Any
) -> Callable[[Callable[[Given], object]], GroupedCommand]:
    """Make a command of a function of one dataclass, whose fields are the options."""

    def decorate(function: Callable[[Given], object]) -> GroupedCommand:
        made = GroupedCommand(
            None, callback=lambda **values: function(given(**values)), help=function.__doc__,
            **settings,
        )  # fmt: skip
        heading = ""
        for field in dataclasses.fields(given):  # type: ignore[arg-type]
            field.metadata["option"](field)(made)
            heading = field.metadata["heading"] or heading
            made.groups.setdefault(heading, []).append(made.params[-1])
        return made

    return decorate


class GroupedCommand(click.Command):
    """A command whose --help lists its options under headings."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.groups: dict[str, list[click.Parameter]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options under each heading; what click adds itself comes last."""
        own = self.get_params(ctx)[len(self.params) :]
        for heading, group in {**self.groups, "Help": own}.items():
            with formatter.section(heading):
                rows = (each.get_help_record(ctx) for each in group)
                formatter.write_dl([row for row in rows if row and row[1]])  # no bare arguments
