"""Which form a path to data has. What was recognised is part of the result, and is printed."""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from s2mlp_cli.data.archives import archive_images
from s2mlp_cli.data.devkit import ARCHIVE
from s2mlp_cli.data.folders import DiskFolder
from s2mlp_cli.data.images import FileSource, ImageSet
from s2mlp_cli.data.label_files import DEVKIT, KNOWN_NAMES, LabelFile, fit_of, read_label_file
from s2mlp_cli.data.labels import TABLES, Labels
from s2mlp_cli.data.layout import folder_layout
from s2mlp_cli.data.names import SYNSET, ending, split_word
from s2mlp_cli.data.parquet import parquet_files
from s2mlp_cli.data.splits import Reading, listed
from s2mlp_cli.data.tables import kind_of_table, read_table
from s2mlp_cli.data.tars import is_archive, read_tar
from s2mlp_cli.data.webdataset import webdataset
from s2mlp_cli.data.zips import is_zip, read_zip
from s2mlp_cli.errors import DataError

_KNOWN_FORMS = (
    "class folders, a folder of images with labels, a tar, a zip, WebDataset tars, Parquet or a "
    "table of file,label such as a CSV"
)

# As --labels: the names of the class folders, whatever a table beside them says.
FOLDERS = "folders"

# Endings of tables that name the images themselves.
_TABLES = (".csv", ".tsv", ".txt")

# {0000..0063} and {a,b}; no more names than this are made of one pattern.
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
_MOST_FILES = 100_000


def open_images(
    path: str | Path,
    labels: str | Path | None = None,
    partial: bool = False,
    split: str | None = None,
) -> ImageSet:
    """Recognise what is at ``path`` and return its images with their labels.

    Args:
        path: a folder, a file, or a pattern such as ``shards/val-*.tar`` or
            ``shards/val-{0000..0063}.tar``.
        labels: a label file, or ``"folders"`` for the names of the class folders. Without it, a
            table of one of the known names in the archive of the images or beside them is taken
            where the images have no classes, or are in folders that need not be classes.
        partial: accept fewer images than the label file has labels.
        split: the split to read, by its name or a word of it, where there are several; ``"none"``
            if no name means one. By default the validation images are read, or test images if
            there are no others; training images never.

    Raises:
        DataError: nothing is there, its form is not known, images and labels do not fit, or it
            cannot be told which split is meant.
    """
    reading = Reading(Path(path), split)
    try:
        images = _recognise(reading.path, reading)
        reading.check()
        if not len(images):
            raise DataError(f"{path} has no images{_aside(reading)}; give {_KNOWN_FORMS}")
        images = _labelled(images, labels, partial, reading)
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read ({error.strerror}); check the path and its "
            "permissions"
        ) from error
    return replace(images, notes=reading.notes)


def _aside(reading: Reading) -> str:
    """Return in brackets what was not read, for an error."""
    return f" ({'; '.join(reading.notes)})" if reading.notes else ""


def _labelled(
    images: ImageSet, given: str | Path | None, partial: bool, reading: Reading
) -> ImageSet:
    """Return the images with labels: those that are given, of the set, or of a table beside it."""
    own = images.labels
    images = replace(images, devkit=_beside(images, reading.path, (ARCHIVE,)))
    if str(given) == FOLDERS:
        if own is None or not own.by_folder:
            raise DataError(f"{reading.path} has no class folders; give a label file with --labels")
        return images
    if given is not None:
        table: LabelFile | None = read_label_file(Path(given), fit_of(images.names), reading)
    elif own is None:
        table = _table_of(images, KNOWN_NAMES, reading)
    else:
        return _checked_by_table(images, own, reading)
    if table is None:
        raise DataError(
            f"{images.path} has images without their classes{_aside(reading)}, and there is no "
            f"{', '.join(KNOWN_NAMES)} beside them; give a label file with --labels"
        )
    devkit = table.path if table.form == DEVKIT else images.devkit
    return replace(images, labels=table.match(images.names, partial), devkit=devkit)


def _checked_by_table(images: ImageSet, own: Labels, reading: Reading) -> ImageSet:
    """Return the images of a set with labels, by a table beside it if folders may be other groups.

    Synsets are classes; of other folders a table knows better, if it names all the images.
    """
    if own.by_folder and not all(map(SYNSET.fullmatch, own.classes or ())):
        try:
            table = _table_of(images, TABLES, reading)
            told = table and table.match(images.names, partial=True)
        except DataError as error:
            fault = str(error).partition(";")[0]
            reading.remark(f"the classes are {own.origin}, since {fault}")
            return images
        if table and told and told.named() != own.named():
            reading.remark(
                f"the classes are those of {table.path}, which names all the images; --labels "
                f"{FOLDERS} takes the names of the folders"
            )
            return replace(images, labels=told)
    if unused := _beside(images, reading.path, TABLES):
        reading.remark(
            f"{unused} is not read, since the labels are from {own.origin}; choose it with --labels"
        )
    return images


def _table_of(images: ImageSet, names: Sequence[str], reading: Reading) -> LabelFile | None:
    """Read the labels in the archive of the images or, by one of these names, beside them."""
    if images.table is not None:
        name, source = images.table
        try:
            content = source.read(0)
        except OSError as error:
            raise DataError(
                f"{images.path}: the labels in {name} cannot be read ({error}); give others with "
                "--labels"
            ) from error
        table = Path(images.path) / name
        fit = fit_of(images.names)
        return LabelFile(table, *read_table(table, io.BytesIO(content), fit, reading))
    file = _beside(images, reading.path, names)
    return None if file is None else read_label_file(file, fit_of(images.names), reading)


def _recognise(path: Path, reading: Reading) -> ImageSet:
    if path.is_dir():
        return _folder(path, reading)
    if path.is_file():
        if ending(path.name) in _TABLES:
            return _listed(path, reading)
        return _several([path], path, reading)
    matches = [Path(match) for name in _expanded(str(path)) for match in _matches(name)]
    if len(matches) == 1 and matches[0].is_dir():
        return _folder(matches[0], reading)
    top = os.path.commonpath([match.parent for match in matches])
    relative = {os.path.relpath(match, top): match for match in matches}
    chosen = reading.choose(path, relative)
    names = list(relative) if chosen is None else chosen
    left = (name for name in relative if name not in names)
    reading.pass_over(left, f"outside the split '{split_word(names[0])}'")
    return _several([relative[name] for name in names], path, reading)


def _expanded(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with braces means."""
    found = _BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, words = found.groups()
    if words is None:
        numbers = range(int(first), int(last) + 1)
        inner = [f"{number:0{len(first)}d}" for number in islice(numbers, _MOST_FILES + 1)]
    else:
        inner = words.split(",")
    if not 0 < len(inner) <= _MOST_FILES:
        raise DataError(
            f"{pattern} names {len(inner):,} files or more, and 1 to {_MOST_FILES:,} can be read; "
            "correct the range in braces"
        )
    for word in inner:
        yield from _expanded(pattern[: found.start()] + word + pattern[found.end() :])


def _matches(pattern: str) -> list[str]:
    """Return the files of one pattern; at least one, since a missing shard is a fault."""
    found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
    if not found:
        raise DataError(f"there is nothing at {pattern}; check the path given with --data")
    return found


def _folder(path: Path, reading: Reading) -> ImageSet:
    layout = folder_layout(DiskFolder(path), reading, strict=True)
    if layout.archives:
        return _several([path / name for name in layout.archives], path / layout.folder, reading)
    root = path / layout.folder
    skipped = len(layout.folder) + 1 if layout.folder else 0
    names = tuple(name[skipped:] for name in layout.names)
    source = FileSource((str(root),), names)
    if layout.classes is None:
        return ImageSet("a flat folder", str(root), source, names, None)
    labels = Labels.from_names(layout.classes, "the names of the class folders", by_folder=True)
    return ImageSet("class folders", str(root), source, names, labels)


def _several(files: list[Path], path: Path, reading: Reading) -> ImageSet:
    """Read files of one kind together."""
    kinds = [_kind(file) for file in files]
    for file, kind in zip(files, kinds, strict=True):
        if kind is None:
            raise DataError(f"{file} is not of a known form; give {_KNOWN_FORMS}")
        if kind != kinds[0]:
            raise DataError(
                f"{path} has {files[0].name} and {file.name}, which are not read together; give "
                "the path of one of them"
            )
    if kinds[0] == ".parquet":
        return parquet_files(files, path)
    archive = read_tar(files[0], reading) if kinds[0] == ".tar" else None
    if archive is not None and (samples := webdataset(archive, files, path, reading)) is not None:
        return samples
    if len(files) > 1:
        raise DataError(
            f"{path} has {len(files)} archives, and only shards of a WebDataset are read together: "
            f"{listed([file.name for file in files])}; choose one by a word of its name with "
            "--split, or give its path"
        )
    if archive is not None:
        return archive_images(archive, "a tar of images", reading)
    return archive_images(read_zip(files[0], reading), "a zip of images", reading)


def _kind(file: Path) -> str | None:
    """Return the ending that a file has, or should have by its first bytes; None for others."""
    if ending(file.name) in (".parquet", ".tar", ".zip"):
        return ending(file.name)
    if is_archive(file):
        return ".tar"
    return ".zip" if is_zip(file) else None


def _listed(path: Path, reading: Reading) -> ImageSet:
    """Read a table of file,label whose files are named relative to it."""

    def is_there(name: str) -> bool:
        return os.path.isfile(path.parent / name)

    listing = read_label_file(path, lambda cell: 2 * is_there(cell), reading)
    names = tuple(listing.entries)
    missing = [name for name in names if not is_there(name)]
    if missing:
        raise DataError(
            f"{path} names {len(missing)} files that are not there (the first is '{missing[0]}'); "
            "paths in it are relative to its folder"
        )
    source = FileSource((str(path.parent),), names)
    labels = Labels.from_values(list(listing.entries.values()), f"{listing.form} {path}")
    return ImageSet(f"a {kind_of_table(path)} of file,label", str(path), source, names, labels)


def _beside(images: ImageSet, given: Path, names: Sequence[str]) -> Path | None:
    """Return the first file of these names in the folder of the images, and those above.

    The last is the one above the path that is given.
    """
    place = Path(images.path)
    folders = [place] if place.is_dir() else []
    folders += [each for each in place.parents if each == place.parent or given in each.parents]
    folders += [given, given.parent]
    files = (folder / name for folder in dict.fromkeys(folders) for name in names)
    return next((file for file in files if file != given and file.is_file()), None)
