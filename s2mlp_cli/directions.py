"""Directions of a spatial shift, named by the way in which the content moves.

Moving content by ``(dh, dw)`` means ``out[b, h, w, c] = x[b, clamp(h - dh), clamp(w - dw), c]``:
rows grow downward, columns grow to the right, and the pixels at the edge are replicated.
"""

from __future__ import annotations

from collections.abc import Iterator

# One direction per equal group of channels, in order. Empty: nothing is shifted.
Directions = tuple[str, ...]

# The directions of each of the K maps of a mixer.
Splits = tuple[Directions, ...]

# (dh, dw) of every direction.
OFFSETS: dict[str, tuple[int, int]] = {
    "up": (-1, 0),
    "down": (1, 0),
    "left": (0, -1),
    "right": (0, 1),
    "up-left": (-1, -1),
    "up-right": (-1, 1),
    "down-left": (1, -1),
    "down-right": (1, 1),
}


def groups(channels: int, directions: Directions) -> Iterator[tuple[slice, int, int]]:
    """Yield ``(channel slice, dh, dw)`` per direction: equal groups, in the order of the list.

    Without directions all channels are one group, which does not move.

    Raises:
        ValueError: ``channels`` does not divide by the number of directions.
        KeyError: a direction has no entry in :data:`OFFSETS`.
    """
    offsets = [OFFSETS[direction] for direction in directions] or [(0, 0)]
    size, rest = divmod(int(channels), len(offsets))  # a traced size is a tensor
    if rest:
        raise ValueError(
            f"{channels} channels do not divide by {len(directions)} directions; use another width "
            "or fewer directions"
        )
    for index, (dh, dw) in enumerate(offsets):
        yield slice(index * size, (index + 1) * size), dh, dw


def offsets_of(channels: int, directions: Directions) -> list[tuple[int, int]]:
    """Return ``(dh, dw)`` of every channel."""
    moves = groups(channels, directions)
    return [(dh, dw) for group, dh, dw in moves for _ in range(channels)[group]]


def destination_and_source(offset: int) -> tuple[slice, slice]:
    """Return the slices of one axis that a shift by -1, 0 or +1 writes and reads.

    The line that they leave out is the replicated edge: it keeps its content.
    """
    if offset > 0:
        return slice(1, None), slice(None, -1)
    if offset < 0:
        return slice(None, -1), slice(1, None)
    return slice(None), slice(None)
