"""How the images of an archive are arranged: in class folders, flat, or in several splits.

The rules are those for folders on a disk: `val` is chosen among splits, class folders go before
images beside them, and whatever is left out is named.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from s2mlp_cli.data.images import left_out

# The names of the folder that is taken where there are several splits.
SPLITS = ("val", "validation")


@dataclass(frozen=True)
class Layout:
    """Which images are taken, and what their folders say.

    Attributes:
        names: the images that are taken, whole paths.
        classes: the class folder of each, or None where there are no class folders.
        stated: what was left out, in sentences.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...] | None
    stated: tuple[str, ...]


def layout_of(names: Sequence[str]) -> Layout:
    """Return the layout of images with these slashed paths, at least one, in their order.

    The folders that all of them share are passed over; the next one is the class. Of several
    splits one is taken, and what is in it looked at likewise.
    """
    stated: tuple[str, ...] = ()
    classes = _first_folders(names)
    while split := next((name for name in SPLITS if name in classes), None):
        stated += left_out(_of(names, classes, split, others=True), f"outside the folder '{split}'")
        names = _of(names, classes, split)
        classes = _first_folders(names)
    beside, inside = _of(names, classes, ""), _of(names, classes, "", others=True)
    if len(set(classes) - {""}) > 1:
        stated += left_out(beside, "beside the class folders")
        return Layout(inside, tuple(filter(None, classes)), stated)
    return Layout(beside, None, stated + left_out(inside, "in a folder of the flat set"))


def _of(
    names: Sequence[str], classes: Sequence[str], wanted: str, others: bool = False
) -> tuple[str, ...]:
    """Return the images of one class, or all others."""
    pairs = zip(names, classes, strict=True)
    return tuple(name for name, own in pairs if (own == wanted) != others)


def _first_folders(names: Sequence[str]) -> list[str]:
    """Return for each path its first folder below those that all share; "" where there is none."""
    folders = {posixpath.dirname(name) for name in names}
    shared = posixpath.commonpath(folders)
    below = {folder: _first_below(shared, folder) for folder in folders}
    return [below[posixpath.dirname(name)] for name in names]


def _first_below(shared: str, folder: str) -> str:
    """Return the name of the first folder on the way from ``shared`` to ``folder``, if any."""
    return folder[len(shared) :].lstrip("/").partition("/")[0]
