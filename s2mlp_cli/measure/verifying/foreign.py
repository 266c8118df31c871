"""A shift from a user's Python file, probed and put into a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from s2mlp_cli.records.verify import ForeignResult
from s2mlp_cli.shifts.foreign import load_foreign
from s2mlp_cli.shifts.probe import probe
from s2mlp_cli.shifts.types import Layout


def explain(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
    device: torch.device | str = "cpu",
) -> ForeignResult:
    """Say what ``mine.py:my_shift`` computes.

    Args:
        name: of the function, method or module; it runs because the user named it.
        arguments: what it gets beside the map.
        layout: of its maps, where their values cannot tell.
        device: where it is called.

    Raises:
        UserCodeError: it cannot be loaded, or lacks an argument.
    """
    shift = load_foreign(name, arguments)
    found = probe(shift, layout, device)
    return ForeignResult(
        implementation=shift.code.name,
        sha256=shift.code.sha256,
        arguments=dict(arguments or {}),
        is_shift=found.is_shift,
        layout=found.read.layout if found.read else None,
        explanation=found.verdict + "; choose with --layout" * found.ambiguous,
        splits=found.splits,
        smears=found.smears,
        findings=found.findings,
    )
