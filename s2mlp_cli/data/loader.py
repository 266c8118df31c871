"""Batches of decoded pixels from worker processes, in a fixed order.

What a worker sends is small: uint8 pixels. Normalisation is left to the device.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from s2mlp_cli.data.images import ImageSource
from s2mlp_cli.data.transform import BROKEN, decode, make_transform
from s2mlp_cli.records.validate import Preprocessing


class Batch(NamedTuple):
    """Some images of a set. A broken one keeps its place, black, and says why.

    Attributes:
        positions: (B,) int64, the positions in the set.
        images: (B, height, width, 3) uint8.
        sizes: (B,) int64, the bytes of each encoded image.
        broken: (B,) the reason why an image could not be decoded, or an empty string.
    """

    positions: Tensor
    images: Tensor
    sizes: Tensor
    broken: list[str]


class DecodedImages(Dataset[Batch]):
    """The images of a source, decoded a batch at a time."""

    def __init__(self, source: ImageSource, config: Preprocessing) -> None:
        self.source = source
        self.config = config
        self._transform = make_transform(config)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the batch of the images at ``positions``: a loader's worker calls this."""
        images = np.zeros((len(positions), *self.config.input_size, 3), np.uint8)
        sizes = np.zeros(len(positions), np.int64)
        broken = [""] * len(positions)
        for row, position in enumerate(positions):
            try:
                content = self.source.read(int(position))
                sizes[row] = len(content)
                images[row] = decode(content, self._transform)
            except BROKEN as error:
                broken[row] = f"{type(error).__name__}: {error}"
        indices = torch.as_tensor(positions, dtype=torch.int64)
        return Batch(indices, torch.from_numpy(images), torch.from_numpy(sizes), broken)


def batches(
    images: DecodedImages, chunks: Sequence[Sequence[int]], workers: int, pin_memory: bool
) -> Iterator[Batch]:
    """Yield one batch for each chunk of positions, in order, decoded by ``workers`` processes."""
    loader: DataLoader[Batch] = DataLoader(
        images,
        batch_sampler=chunks,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        worker_init_fn=_leave_interrupts_to_parent,
    )
    yield from loader


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _leave_interrupts_to_parent(_: int) -> None:
    """Keep Ctrl-C from printing one traceback for each worker; the parent ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
