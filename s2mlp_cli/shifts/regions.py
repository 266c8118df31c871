"""A shift as rectangles: which part of a map goes where, edges included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from s2mlp_cli.directions import Directions, destination_and_source, groups


class Region(NamedTuple):
    """Rows, columns and channels that one copy writes, and those that it reads."""

    to_rows: slice
    to_columns: slice
    from_rows: slice
    from_columns: slice
    channels: slice


def _moves(size: int, offset: int) -> Iterator[tuple[slice, slice]]:
    """Yield (to, from) along one axis: the lines that move, then the edge that is replicated."""
    if not offset:
        yield slice(0, size), slice(0, size)
        return
    if size > 1:
        yield destination_and_source(offset)
    edge = slice(0, 1) if offset > 0 else slice(size - 1, size)
    yield edge, edge


def regions(height: int, width: int, channels: int, directions: Directions) -> Iterator[Region]:
    """Yield the copies that make up a shift; their destinations cover every element once."""
    for group, dh, dw in list(groups(channels, directions)) or [(slice(0, channels), 0, 0)]:
        for to_rows, from_rows in _moves(height, dh):
            for to_columns, from_columns in _moves(width, dw):
                yield Region(to_rows, to_columns, from_rows, from_columns, group)
