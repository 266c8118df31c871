"""Which form a path to data has. What was recognised is part of the result, and is printed."""

from __future__ import annotations

import glob
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from s2mlp_cli.data.devkit import ARCHIVE
from s2mlp_cli.data.files import FileSource, image_folder
from s2mlp_cli.data.images import ImageSet, ImageSource, is_image
from s2mlp_cli.data.label_files import (
    KNOWN_NAMES,
    LabelFile,
    read_label_file,
    read_table,
    with_labels,
)
from s2mlp_cli.data.layout import SPLITS
from s2mlp_cli.data.parquet import parquet_files
from s2mlp_cli.data.tars import is_archive, raw_tar, read_archive
from s2mlp_cli.data.webdataset import is_webdataset, webdataset
from s2mlp_cli.data.zips import is_zip, zip_of_images
from s2mlp_cli.errors import DataError

_KNOWN_FORMS = (
    "class folders, a folder of images with labels, a tar, a zip, WebDataset tars, Parquet or a "
    "CSV of file,label"
)


def open_images(
    path: str | Path, labels: str | Path | None = None, partial: bool = False
) -> ImageSet:
    """Recognise what lies at ``path`` and return its images with their labels.

    Args:
        path: a folder, a file, or a pattern such as ``shards/val-*.tar``.
        labels: a label file; without it one of the known names in the archive of the images is
            taken, or beside them.
        partial: accept fewer images than the label file has labels.

    Raises:
        DataError: nothing is there, its form is not known, or images and labels do not fit.
    """
    images = _recognise(Path(path))
    if not len(images):
        raise DataError(f"{path} holds no images; give {_KNOWN_FORMS}")
    beside = next(_beside(Path(images.path), (ARCHIVE,)), None)
    images = replace(images, devkit=beside)
    if labels is not None:
        return with_labels(images, read_label_file(Path(labels)), partial)
    if images.labels is not None:
        return images
    return with_labels(images, _labels_found(images), partial)


def _recognise(path: Path) -> ImageSet:
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    matches = [Path(match) for match in sorted(glob.glob(str(path)))]
    if matches:
        return _several(matches, path)
    raise DataError(f"there is nothing at {path}; check the path given with --data")


def _folder(path: Path) -> ImageSet:
    """Recognise a folder by what lies directly in it."""
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if entry.is_file()]
    split = next((path / name for name in SPLITS if path / name in folders), None)
    if split is None and any(is_image(file.name) for file in files):
        return image_folder(path)
    for suffix in (".parquet", ".tar"):
        found = [file for file in files if file.suffix == suffix]
        if found:
            return _several(_validation_split(found), path)
    if split is not None:
        return _folder(split)
    if [folder.name for folder in folders] == ["data"]:  # a Hugging Face repository
        return _folder(folders[0])
    if folders:
        return image_folder(path)
    zips = [file for file in files if file.suffix == ".zip"]
    if zips:  # beside folders they are those that were unpacked, or hold something else
        return _several(_validation_split(zips), path)
    raise DataError(f"the folder {path} holds no images; give {_KNOWN_FORMS}")


def _file(path: Path) -> ImageSet:
    return _listed(path) if path.suffix == ".csv" else _several([path], path)


def _several(files: list[Path], path: Path) -> ImageSet:
    """Read files of one kind together."""
    kind = _kind(files[0])
    if kind is None:
        raise DataError(f"{files[0]} is not of a known form; give {_KNOWN_FORMS}")
    return _READERS[kind](files, path)


def _kind(file: Path) -> str | None:
    """Return the suffix that a file has, or should have by its first bytes; None for others."""
    if file.suffix in _READERS:
        return file.suffix
    return next((kind for kind, begins_so in _BEGINNINGS.items() if begins_so(file)), None)


def _tars(files: list[Path], path: Path) -> ImageSet:
    if is_webdataset(read_archive(files[0]).members.values()):
        return webdataset(files, path)
    return raw_tar(_only(files, path))


def _zips(files: list[Path], path: Path) -> ImageSet:
    return zip_of_images(_only(files, path))


def _only(files: list[Path], path: Path) -> Path:
    """Return the one archive, the images of which are labelled by it or by a file beside it."""
    if len(files) == 1:
        return files[0]
    raise DataError(
        f"{path} holds {len(files)} archives without labels in them (the first is "
        f"{files[0].name}); give the one archive of the validation images"
    )


# suffix -> reads files of that kind; they lie at the path that is given too.
_READERS: dict[str, Callable[[list[Path], Path], ImageSet]] = {
    ".parquet": parquet_files,
    ".tar": _tars,
    ".zip": _zips,
}

# suffix -> tells by its first bytes whether a file under another name is of that kind.
_BEGINNINGS: dict[str, Callable[[Path], bool]] = {".tar": is_archive, ".zip": is_zip}


def _validation_split(files: list[Path]) -> list[Path]:
    """Keep the files whose names begin with val if there are any: the others are train and test."""
    return (
        [file for file in files if file.name.startswith("val")]
        or [file for file in files if "_img_val" in file.name]
        or files
    )


def _listed(path: Path) -> ImageSet:
    """Read a CSV of file,label whose files are named relative to it."""
    listing = read_label_file(path)
    names = tuple(listing.entries)
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise DataError(
            f"{path} names {len(missing)} files that are not there (the first is '{missing[0]}'); "
            "paths in it are relative to its folder"
        )
    source = FileSource(str(path.parent), names)
    return ImageSet("a CSV of file,label", str(path), source, names, listing.match(names))


def _labels_found(images: ImageSet) -> LabelFile:
    """Read a label file of a known name: in the archive of the images, or beside them."""
    path = Path(images.path)
    if images.table is not None:
        return _labels_inside(path, *images.table)
    for file in _beside(path, KNOWN_NAMES):
        return read_label_file(file)
    raise DataError(
        f"{path} holds images without their classes, and no {', '.join(KNOWN_NAMES)} lies beside "
        "them; give a label file with --labels"
    )


def _labels_inside(path: Path, name: str, source: ImageSource) -> LabelFile:
    """Read the table of labels of this name in the archive at ``path``."""
    try:
        content = source.read(0)
    except OSError as error:
        raise DataError(
            f"{path}: the labels in {name} cannot be read ({error}); give others with --labels"
        ) from error
    return read_table(path / name, io.BytesIO(content))


def _beside(path: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield the files of these names in the folder of the images, then in the one above."""
    for folder in (*([path] if path.is_dir() else []), path.parent):
        yield from (folder / name for name in names if (folder / name).is_file())
