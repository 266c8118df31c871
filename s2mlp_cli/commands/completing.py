"""What the shell offers on TAB: names of models and shifts, devices, and files. No torch needed."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from s2mlp_cli.shifts import registry


def models(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Return the built-in specs whose names begin so; if there is none, the shell offers files."""
    from s2mlp_cli.specs import names

    found = [CompletionItem(name) for name in names() if name.startswith(begun)]
    return found or [CompletionItem(begun, type="file")]


def shift(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the implementations of the shift whose names begin so."""
    return [name for name in registry.NAMES if name.startswith(begun)]


def shifts(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the ways to complete the last name of a list: ``conv,ga`` to ``conv,gather``."""
    before, comma, last = begun.rpartition(",")
    known = registry.NAMES if comma else (*registry.NAMES, "all")
    taken = before.split(",")
    return [before + comma + name for name in known if name.startswith(last) and name not in taken]


def devices(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the kinds of device; which of them are here only torch could tell."""
    return [name for name in ("cpu", "cuda") if name.startswith(begun)]


def files(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """Let the shell offer its files."""
    return [CompletionItem(begun, type="file")]
