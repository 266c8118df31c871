"""The list of specs, and one spec as YAML."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from s2mlp_cli.specs import ModelSpec
from s2mlp_cli.views.document import Column, Sheet, Table, View, plural


def catalogue(specs: Sequence[ModelSpec], pattern: str | None) -> View:
    """Return the table of ``specs``, one line each, under a line that counts them."""
    header = ("name", "title", "family", "source")
    rows = tuple((spec.name, spec.title, spec.family, spec.source) for spec in specs)
    matching = f" with '{pattern}' in the name" if pattern else ""
    return View(
        title="Built-in specs",
        answers=(f"{plural(len(specs), 'built-in spec')}{matching}",),
        sheet=Sheet(header, rows),
        tables=(Table("", tuple(Column(name.capitalize()) for name in header), rows),),
    )


def spec_yaml(spec: ModelSpec) -> str:
    """Return ``spec`` as YAML that loads to the same spec."""
    return str(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, width=88))
