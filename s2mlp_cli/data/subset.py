"""Which images a run validates on."""

from __future__ import annotations

import numpy as np

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
