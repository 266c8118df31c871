"""How the images of an archive are arranged: in class folders, flat, or in several splits.

The rules are those for folders on a disk: `val` is chosen among splits, class folders go before
images beside them, and whatever is left out is named.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from s2mlp_cli.data.images import left_out

SPLITS = ("val", "validation")
"""The names of the folder that is taken where there are several splits."""


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

    The folders that all of them share are passed over; the next one is the class.
    """
    folders = {posixpath.dirname(name) for name in names}
    shared = posixpath.commonpath(folders)
    inner = {folder: _first_below(shared, folder) for folder in folders}
    classes = [inner[posixpath.dirname(name)] for name in names]
    split = next((name for name in SPLITS if name in inner.values()), None)
    if split is not None:
        return _of_split(names, classes, split)
    beside = tuple(name for name, own in zip(names, classes, strict=True) if not own)
    inside = tuple(name for name, own in zip(names, classes, strict=True) if own)
    if len(set(inner.values()) - {""}) > 1:
        named = tuple(filter(None, classes))
        return Layout(inside, named, left_out(beside, "beside the class folders"))
    return Layout(beside, None, left_out(inside, "in a folder of the flat set"))


def _of_split(names: Sequence[str], classes: Sequence[str], split: str) -> Layout:
    """Take the images of one split alone."""
    kept = [name for name, own in zip(names, classes, strict=True) if own == split]
    others = [name for name, own in zip(names, classes, strict=True) if own != split]
    found = layout_of(kept)
    stated = (*left_out(others, f"outside the folder '{split}'"), *found.stated)
    return Layout(found.names, found.classes, stated)


def _first_below(shared: str, folder: str) -> str:
    """Return the name of the first folder on the way from ``shared`` to ``folder``, if any."""
    return folder[len(shared) :].lstrip("/").partition("/")[0]
