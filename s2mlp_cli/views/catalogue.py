"""Specs on the terminal: the list of all, and one as YAML."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from s2mlp_cli.specs import ModelSpec
from s2mlp_cli.views.tables import house_table


def catalogue(specs: Sequence[ModelSpec], pattern: str | None) -> RenderableType:
    """Return the table of ``specs``, one line each, under a line that counts them."""
    noun, names = ("spec", "its name") if len(specs) == 1 else ("specs", "their names")
    matching = f" with '{pattern}' in {names}" if pattern else ""
    answer = Text(f"{len(specs)} built-in {noun}{matching}", style="answer")
    table: Table = house_table("name", "title", "family", "source")
    for spec in specs:
        table.add_row(Text(spec.name, style="key"), spec.title, spec.family, spec.source)
    return Group(answer, table)


def spec_yaml(spec: ModelSpec) -> str:
    """Return ``spec`` as YAML that loads to the same spec."""
    return str(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, width=88))
