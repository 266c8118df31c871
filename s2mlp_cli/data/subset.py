"""Which images a run validates on, and a fingerprint of them."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.data.labels import IntArray


def spread(targets: IntArray, limit: int, seed: int) -> IntArray:
    """Return the positions of ``limit`` images, evenly over the classes, in the set's order.

    Each class gives its images in an order drawn by ``seed``; the first of every class are taken,
    then the second of every class, and so on, so that counts of classes differ by at most one
    while classes last. The classes of the last, incomplete round are drawn as well.

    Args:
        targets: (images,) the class of each image.
        limit: how many to take; all if there are not so many.
        seed: of numpy's default generator.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(targets))
    order = shuffled[np.argsort(targets[shuffled], kind="stable")]
    classes = targets[order]
    starts = np.flatnonzero(np.r_[True, classes[1:] != classes[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    round_of = np.arange(len(order)) - np.repeat(starts, lengths)
    rank = np.repeat(generator.permutation(len(starts)), lengths)
    return np.sort(order[np.lexsort((rank, round_of))[:limit]]).astype(np.int64)


def fingerprint(
    names: Sequence[str], sizes: Iterable[int] | NDArray[np.int64], labels: NDArray[np.int64]
) -> str:
    """Return a SHA-256 over the sorted (base name, bytes, label) of the images.

    Folders, archives and order do not enter: the same files give the same fingerprint as class
    folders, flat, or inside a tar.
    """
    rows = sorted(
        f"{posixpath.basename(name)}\0{size}\0{label}\n"
        for name, size, label in zip(names, sizes, labels.tolist(), strict=True)
    )
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
