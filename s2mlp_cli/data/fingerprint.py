"""A fingerprint of a set of labelled images: two results with the same one saw the same images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.data.images import base_name


def fingerprint(
    names: Sequence[str], sizes: Iterable[int] | NDArray[np.int64], labels: NDArray[np.int64]
) -> str:
    """Return a SHA-256 over the sorted (base name, bytes, label) of the images.

    Folders, archives and order do not enter: the same files give the same fingerprint as class
    folders, flat, or inside a tar.
    """
    rows = sorted(
        f"{base_name(name)}\0{size}\0{label}\n"
        for name, size, label in zip(names, sizes, labels.tolist(), strict=True)
    )
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
