"""Small sets of images, and what tests ask of them."""

import io
import re
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.loader import DecodedImages
from s2mlp_cli.errors import DataError
from s2mlp_cli.preprocessing import Preprocessing
from tests.digits import GREY, png, tar_of, unpacked, zip_of

LIGHT = png(np.full((8, 8, 3), 200, np.uint8))


def refused(path, message, labels=None, **chosen):
    """The sentence is one line, names the fault and ends with a remedy."""
    with pytest.raises(DataError) as caught:
        open_images(path, labels, **chosen)
    text = str(caught.value)
    assert re.search(message, text), text
    assert "\n" not in text
    assert ";" in text


def contents(images):
    return {name: images.source.read(i) for i, name in enumerate(images.names)}


def classes(images):
    """Return the class of each image: its name, or its number where the set has only numbers."""
    values, known = images.labels.values.tolist(), images.labels.classes
    found = values if known is None else [known[value] for value in values]
    return dict(zip(images.names, found, strict=True))


def decoded(images):
    config = Preprocessing(input_size=(8, 8))
    return DecodedImages(images.source, np.arange(len(images)), config)


def batch(images):
    return decoded(images).__getitems__(range(len(images)))


def in_every_form(root, members):
    disk = unpacked(root / "disk", members)
    sources = (disk, tar_of(root / "x.tar", members), zip_of(root / "x.zip", members))
    return {str(source.name): open_images(source) for source in sources}


def archive(path, *members):
    """Write members in this order: bytes as a file, ``->x`` as a symbolic, ``=x`` as a hard link."""
    (_tar if path.suffix == ".tar" else _zip)(path, members)
    return path


def _tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
                continue
            symbolic = content.startswith("->")
            entry.type = tarfile.SYMTYPE if symbolic else tarfile.LNKTYPE
            entry.linkname = content[2 if symbolic else 1 :]
            tar.addfile(entry)


def _zip(path, members):
    with zipfile.ZipFile(path, "w") as zipped, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own on repeated names
        for name, content in members:
            info = zipfile.ZipInfo(name)
            if isinstance(content, str):
                info.create_system, info.external_attr = 3, 0o120777 << 16
            zipped.writestr(info, content[2:] if isinstance(content, str) else content)


def files(*names):
    """Return the same image under each of these names, as members of an archive."""
    return [(name, GREY) for name in names]
