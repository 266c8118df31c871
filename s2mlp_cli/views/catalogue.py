"""The list of specs, and one spec as YAML."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from s2mlp_cli.specs import ModelSpec, S2MLPSpec
from s2mlp_cli.views.document import Column, Table, View, plural


def catalogue(specs: Sequence[ModelSpec], pattern: str | None) -> View:
    """Return the table of ``specs``, one line each, under a line that counts them."""
    columns = Column("Name"), Column("Title"), Column("Family", optional=True), Column("Source")
    rows = tuple((spec.name, spec.title, spec.family, spec.source) for spec in specs)
    matching = f" with '{pattern}' in the name" if pattern else ""
    return View(
        title="Built-in specs",
        answers=(f"{plural(len(specs), 'built-in spec')}{matching}",),
        tables=(Table("", columns, rows),),
    )


_ARROWS = {
    "up": "↑", "down": "↓", "left": "←", "right": "→",
    "up-left": "↖", "up-right": "↗", "down-left": "↙", "down-right": "↘",
}  # fmt: skip


def spec_yaml(spec: ModelSpec) -> str:
    """Return ``spec`` as YAML that loads to the same spec; comments draw what its splits do."""
    text = yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, width=88)
    if not isinstance(spec, S2MLPSpec):
        return str(text)
    drawn = [_drawn(index, split) for index, split in enumerate(spec.mixer.splits)]
    title = "# Where each split moves its channels, by one token (the border is repeated):"
    return "\n".join([f"{text}{title}", *drawn, ""])


def _drawn(index: int, split: Sequence[str]) -> str:
    """Draw a split as groups of channels, each with the arrow of its direction."""
    if not split:
        return f"#   split {index}  │ · │ not shifted"
    boxes = "".join(f" {_ARROWS[direction]} │" for direction in split)
    part = "all channels" if len(split) == 1 else f"1/{len(split)} of the channels each"
    return f"#   split {index}  │{boxes} {', '.join(split)}: {part}"
