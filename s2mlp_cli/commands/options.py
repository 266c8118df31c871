"""Options that several commands share, each defined once as a decorator."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from s2mlp_cli.commands import completing
from s2mlp_cli.commands.output import ENDINGS, TEXTS
from s2mlp_cli.shifts import registry

Function = TypeVar("Function", bound=Callable[..., Any])


class InputSize(click.ParamType[tuple[int, int]]):
    """An image size in pixels: ``224``, or ``HxW`` such as ``288x224``."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return (height, width)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"([1-9]\d{0,4})(?:[x×]([1-9]\d{0,4}))?", str(value).strip())
        if match is None:
            self.fail(f"'{value}' is not a size in pixels; write 224 or 288x224", param, ctx)
        return int(match[1]), int(match[2] or match[1])


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
    """A file to save a record to; its ending says in which form."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail with the endings that are known."""
        path = Path(super().convert(value, param, ctx))  # type: ignore[arg-type]
        if not path.parent.is_dir():
            self.fail(
                f"there is no folder '{path.parent}' to write to; make it, or choose another",
                param,
                ctx,
            )
        if not os.access(path.parent, os.W_OK):  # better now than after an hour of measuring
            self.fail(f"the folder '{path.parent}' is read-only; choose another", param, ctx)
        if path.suffix not in ENDINGS:
            self.fail(f"'{path}' should end with {', '.join(ENDINGS)}", param, ctx)
        return path


def models(default: str | None = None) -> Callable[[Function], Function]:
    """``--model``, repeatable: a built-in name or a path to a YAML spec."""
    return click.option(
        "--model",
        "-m",
        "models",
        multiple=True,
        metavar="NAME|FILE",
        shell_complete=completing.models,
        default=(default,) if default else (),
        show_default=bool(default),
        help="A built-in spec (see `s2mlp models`) or your own YAML file. Repeatable.",
    )


overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the spec, such as stages.0.depth=2. Repeatable.",
)

input_size = click.option(
    "--input-size",
    type=InputSize(),
    metavar="H[xW]",
    help="Image size instead of the spec's: 288, or 288x224.",
)

input_sizes = click.option(
    "--input-size",
    "input_sizes",
    type=InputSize(),
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
        shell_complete=completing.shift,
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
        shell_complete=completing.shifts,
        help=f"Implementations of the spatial shift: {', '.join(registry.NAMES)}.",
    )


def seed(of: str) -> Callable[[Function], Function]:
    """``--seed``: a number that numpy's and torch's generators both take."""
    return click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help=of
    )


device = click.option(
    "--device",
    metavar="DEVICE",
    shell_complete=completing.devices,
    help="cpu, cuda or cuda:1. Default: the GPU if there is one.",
)


def output(function: Function) -> Function:
    """``--format`` for stdout and ``-o`` for a file."""
    function = click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", *TEXTS]),
        default="table",
        show_default=True,
        help="What to print on stdout.",
    )(function)
    return click.option(
        "--output",
        "-o",
        type=OutputFile(),
        help=f"Save the record as well; the ending says how: {', '.join(ENDINGS)}.",
    )(function)
