"""Which images of a folder or an archive are read, and what their folders say of them.

One set of rules, for disks and archives: a folder that contains nothing but one folder is stepped
through, of several splits one is read, and several folders with images are classes. Whatever is
not read is named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from s2mlp_cli.data.folders import Folder
from s2mlp_cli.data.names import SYNSET, ending, kind_of, split_word
from s2mlp_cli.data.splits import Reading, listed
from s2mlp_cli.errors import DataError


@dataclass(frozen=True)
class FolderLayout:
    """What is read of a folder or an archive.

    Attributes:
        folder: the path of the folder in which the images, class folders or archives are.
        names: the paths of the images, from the root on.
        classes: the class folder of each, or None where there are no class folders.
        archives: the paths of the archives to read, where there are no images.
    """

    folder: str
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    archives: tuple[str, ...] = ()


def folder_layout(root: Folder, reading: Reading, strict: bool) -> FolderLayout:
    """Return which images or archives of a folder are read.

    Args:
        root: the folder.
        reading: chooses among splits, and keeps the notes.
        strict: a class folder without images is a fault: an interrupted copy looks like that.

    Raises:
        DataError: names cannot tell which split is meant, or a class folder is empty.
    """
    folder = root
    while True:
        _note_unread(folder, reading)
        chosen = _chosen(folder, reading)
        inside = [f for f in folder.listing.folders if chosen is None or f.name in chosen]
        archives = [n for n in folder.archives if chosen is None or n in chosen]
        images = folder.images if chosen is None else []
        full = [each for each in inside if each.holds_images]
        others = [each for each in inside if each.holds_archives and not each.holds_images]
        nested = [path for each in others for path in each.content()]
        if images or full:
            reading.pass_over([*map(folder.inner, archives), *nested], "beside the images")
        elif archives:
            reading.pass_over(nested, "beside the archives that are read")
            return FolderLayout(folder.path, archives=tuple(map(folder.inner, archives)))
        steps = full or others
        if images or len(steps) != 1:
            break
        if strict and chosen is None:
            _check_full([each for each in folder.listing.folders if each.is_empty])
        folder = steps[0]
    if steps and (chosen is not None or not full) and not images:
        raise DataError(
            f"{folder.place} has several folders of one kind: "
            f"{listed([each.name for each in steps])}; choose one with --split"
        )
    if len(full) > 1:
        return _class_folders(folder, full, reading, strict)
    return _flat(folder, full, reading)


def _chosen(folder: Folder, reading: Reading) -> set[str] | None:
    """Return the names of what belongs to the split that is read; None where there are none."""
    below = folder.listing.folders
    inside = [each for each in below if each.holds_images or each.holds_archives]
    classes = [
        each.name for each in inside
        if not (each.holds_archives or any(inner.holds_images for inner in each.listing.folders))
    ]  # fmt: skip
    names = [*folder.archives, *(each.name for each in inside)]
    chosen = reading.choose(folder.place, names, classes)
    if chosen is None:
        return None
    why = f"outside the split '{split_word(chosen[0]) or chosen[0]}'"
    own = (name for name in (*folder.images, *folder.archives) if name not in chosen)
    reading.pass_over(map(folder.inner, own), why)
    for each in inside:
        if each.name not in chosen:
            reading.pass_over(each.content(), why)
    return set(chosen)


def _note_unread(folder: Folder, reading: Reading) -> None:
    """Note what is in a folder that is read, but is not read itself."""
    reading.pass_over(folder.listing.hidden, "hidden or in a folder of thumbnails")
    reading.pass_over(folder.listing.dead_links, "to nothing, or back to a folder above", "link")
    for name in folder.listing.files:
        if kind_of(name) == "foreign":
            why = f"in a format that Pillow cannot read here ({ending(name)})"
            reading.pass_over([folder.inner(name)], why)


def _class_folders(
    folder: Folder, full: Sequence[Folder], reading: Reading, strict: bool
) -> FolderLayout:
    """Return the layout of class folders: what is in one at any depth is of its class."""
    if strict:
        others = [each for each in folder.listing.folders if not each.holds_images]
        _check_full([each for each in others if not each.holds_archives])
    reading.pass_over(map(folder.inner, folder.images), "beside the class folders")
    names = all_images(full, reading)
    depth = folder.inner("").count("/")
    return FolderLayout(folder.path, names, tuple(name.split("/")[depth] for name in names))


def _check_full(empty: Sequence[Folder]) -> None:
    if empty:
        raise DataError(
            f"the class folder {empty[0].place} has no image that can be read; add its "
            "images, or remove it"
        )


def _flat(folder: Folder, full: Sequence[Folder], reading: Reading) -> FolderLayout:
    """Return the layout of a folder of images; one with the name of a synset is a class."""
    for each in full:
        reading.pass_over(each.content(), "in a folder of the flat set")
    names = tuple(map(folder.inner, folder.images))
    if not names:
        for each in folder.listing.folders:
            for inner in each.walk():
                _note_unread(inner, reading)
    if not SYNSET.fullmatch(folder.name):
        return FolderLayout(folder.path, names)
    return FolderLayout(folder.path.rpartition("/")[0], names, (folder.name,) * len(names))


def all_images(roots: Sequence[Folder], reading: Reading) -> tuple[str, ...]:
    """Return the paths of the images in these folders at any depth, sorted; of splits only one.

    Links are followed last, and an image that one shows once more is left out.
    """
    found: list[str] = []
    entered: set[str] = set()
    waiting = deque(sorted(roots, key=lambda root: root.linked))
    while waiting:
        folder = waiting.popleft()
        if folder.real in entered:
            reading.pass_over(folder.content(), "reached twice, through links")
            continue
        entered.add(folder.real)
        _note_unread(folder, reading)
        chosen = _chosen(folder, reading)
        if chosen is None:
            found += map(folder.inner, folder.images)
        below = [each for each in folder.listing.folders if chosen is None or each.name in chosen]
        waiting.extendleft(each for each in below if not each.linked)
        waiting.extend(each for each in below if each.linked)
    return tuple(sorted(found))
