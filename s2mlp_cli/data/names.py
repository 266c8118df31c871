"""What the name of a file or folder says: an image, hidden, of a split."""

from __future__ import annotations

import re
from typing import Literal

from PIL import Image

Kind = Literal["image", "foreign", "archive", "other", "unknown"]

# Formats that Pillow only identifies, or that are documents and films rather than images.
_OTHER_FORMATS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})

# Endings of the images that this Pillow reads, in small letters, with the dot.
Image.init()
_READABLE = frozenset(
    end
    for end, form in Image.registered_extensions().items()
    if form in Image.OPEN and form not in _OTHER_FORMATS
)

# Endings of images that need more than Pillow, or a Pillow with more libraries.
_FOREIGN = frozenset({
    ".ai", ".arw", ".avif", ".bpg", ".cr2", ".cr3", ".dng", ".exr", ".hdr", ".heic", ".heif",
    ".hif", ".j2c", ".j2k", ".jp2", ".jpx", ".jxl", ".jxr", ".nef", ".orf", ".pef", ".pict",
    ".raf", ".raw", ".rw2", ".svg", ".svgz", ".wdp", ".webp", ".xcf",
})  # fmt: skip

# Endings that are surely not images, so that nobody looks into such files.
_PLAIN = frozenset({
    ".bz2", ".cfg", ".cls", ".csv", ".db", ".gz", ".h5", ".hdf5", ".htm", ".html", ".index",
    ".ini", ".ipynb", ".js", ".json", ".jsonl", ".lock", ".log", ".mat", ".md", ".mp4", ".npy",
    ".npz", ".parquet", ".pdf", ".pickle", ".pkl", ".pt", ".pth", ".py", ".pyc", ".rst",
    ".safetensors", ".sh", ".tar", ".tgz", ".toml", ".tsv", ".txt", ".url", ".wav", ".xml", ".xz",
    ".yaml", ".yml", ".zip", ".zst",
})  # fmt: skip

# Endings of archives; those that are compressed are found, and refused with the reason.
_ARCHIVES = (".parquet", ".tar", ".zip", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")

# How images begin, whatever their names: JPEG, PNG, GIF, BMP, TIFF, WebP, AVIF and HEIF, JPEG 2000,
# JPEG XL, PNM.
BEGINNINGS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0{4}|II\*\0|MM\0\*|RIFF.{4}WEBP"
    rb"|.{4}ftyp(avif|avis|heic|heix|mif1|msf1)|\0\0\0\x0c(jP  |JXL )|\xff\x4f\xff\x51|P[1-7]\s",
    re.DOTALL,
)

# As many bytes tell it.
HEAD = 16

# Folders that file managers, storage boxes and unpackers leave beside images, in small letters.
_SYSTEM = frozenset(
    {"@eadir", "@recently-snapshot", "@recycle", "@tmp", "__macosx", "#recycle", "#snapshot"}
    | {"thumbs", "thumbnails", "_thumbs", "_thumbnails", "thumbs.db", "ehthumbs.db"}
    | {"~snapshot", "$recycle.bin", "lost+found", "system volume information", "desktop.ini"}
)

# The name of a class of ImageNet.
SYNSET = re.compile(r"n\d{8}")

# word in a name -> the split that it means.
_SPLITS = {
    **dict.fromkeys(("train", "training", "trainval", "trainset", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validating", "valset", "vld"), "validation"),
    **dict.fromkeys(("dev", "devset", "eval", "evaluation", "evalset"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "tst"), "test"),
}

# Runs of letters; capitals inside a name begin a word: "ILSVRCVal", "imagenet_val2012", "TRAIN".
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def ending(name: str) -> str:
    """Return the ending of a name with its dot, in small letters; "" where it has none."""
    stem, dot, last = name.rpartition("/")[2].rpartition(".")
    return f".{last.lower()}" if dot and stem else ""


def stem(name: str) -> str:
    """Return a name without its ending."""
    return name[: len(name) - len(ending(name))]


def kind_of(name: str) -> Kind:
    """Return what a name says of a file.

    ``"foreign"`` are images that this Pillow does not read; of the ``"unknown"`` only the content
    can tell: ``img_1``, ``1.jpg_large``.
    """
    end = ending(name)
    if end in _READABLE:
        return "image"
    if end in _FOREIGN:
        return "foreign"
    last = name.rpartition("/")[2].lower()
    if last.endswith(_ARCHIVES) and not last.startswith("ilsvrc2012_devkit"):
        return "archive"
    return "other" if end in _PLAIN else "unknown"


def is_hidden(part: str) -> bool:
    """Tell whether a file or folder of this name is passed over: hidden, thumbnails, a recycler."""
    return part.startswith(".") or part.lower() in _SYSTEM


def words(name: str) -> list[str]:
    """Return the words of a name in small letters: ``imagenet1k-train-0000.tar`` has ``train``."""
    return [word.lower() for word in _WORD.findall(name)]


def split_word(name: str) -> str | None:
    """Return the word by which a name says its split; None if it says none.

    A name with several is of the training images if one of them says so.
    """
    found = [word for word in words(name) if word in _SPLITS]
    order = ("train", "validation", "test")
    return min(found, key=lambda word: order.index(_SPLITS[word]), default=None)


def split_of(name: str) -> str | None:
    """Return ``"train"``, ``"validation"`` or ``"test"`` as a name says; None if it says none."""
    word = split_word(name)
    return None if word is None else _SPLITS[word]
