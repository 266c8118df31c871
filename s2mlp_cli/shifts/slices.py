"""Slice indexing on a copy: what the papers' pseudocode means."""

from __future__ import annotations

from torch import Tensor

from s2mlp_cli.directions import Directions, destination_and_source, groups
from s2mlp_cli.shifts.types import ShiftFunction


def shift_slice(x: Tensor, directions: Directions) -> Tensor:
    """Copy ``x`` (B,H,W,C), then overwrite each group with the slice that moved."""
    out = x.clone()
    for group, dh, dw in groups(x.shape[-1], directions):
        to_rows, from_rows = destination_and_source(dh)
        to_columns, from_columns = destination_and_source(dw)
        out[:, to_rows, to_columns, group] = x[:, from_rows, from_columns, group]
        if dh and dw:  # a diagonal also moves along the edge that it enters by
            _replicate_entered_edges(out, x, group, dh, dw)
    return out


def _replicate_entered_edges(out: Tensor, x: Tensor, group: slice, dh: int, dw: int) -> None:
    to_rows, from_rows = destination_and_source(dh)
    to_columns, from_columns = destination_and_source(dw)
    row = 0 if dh > 0 else -1
    column = 0 if dw > 0 else -1
    out[:, row, to_columns, group] = x[:, row, from_columns, group]
    out[:, to_rows, column, group] = x[:, from_rows, column, group]


IMPLEMENTATION = ShiftFunction("slice", "slice indexing on a copy", shift_slice)
