"""Batches of decoded pixels from worker processes, in a fixed order.

What a worker sends is small: uint8 pixels. Normalisation is left to the device.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from s2mlp_cli.data.images import ImageSet, ImageSource
from s2mlp_cli.data.labels import IntArray
from s2mlp_cli.data.subset import spread
from s2mlp_cli.data.transform import BROKEN, decode, make_transform, why_broken
from s2mlp_cli.errors import DataError
from s2mlp_cli.preprocessing import Preprocessing

# How torch's own report begins; what a worker raised itself begins otherwise.
_DEAD_WORKER = "DataLoader worker (pid"

# What torch says in a worker that has no room for a batch, after the worker's traceback.
_NO_SHARED_MEMORY = "unable to allocate shared memory"

# What taking over a batch raises where the worker that wrote it is dead already.
_BROKEN_OFF = (EOFError, ConnectionError, FileNotFoundError)


class Batch(NamedTuple):
    """Some images of a set. A broken one keeps its place, black, and says why.

    Attributes:
        rows: (B,) int64, the rows of the run's table.
        images: (B, height, width, 3) uint8.
        sizes: (B,) int64, the bytes of each encoded image.
        broken: (B,) the reason why an image could not be decoded, or an empty string.
        lost: the folder or archive that has gone, so that no image can be read; usually empty.
    """

    rows: Tensor
    images: Tensor
    sizes: Tensor
    broken: list[str]
    lost: str = ""


class DecodedImages(Dataset[Batch]):
    """Some images of a source, decoded a batch at a time.

    Args:
        source: reads the encoded images.
        positions: (rows,) which of them a run takes, in its order.
        config: how they become pixels.
    """

    def __init__(self, source: ImageSource, positions: IntArray, config: Preprocessing) -> None:
        self.source = source
        self.positions = positions
        self.config = config
        self._transform = make_transform(config)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the batch of the images of ``rows``: a loader's worker calls this."""
        images = torch.zeros((len(rows), *self.config.input_size, 3), dtype=torch.uint8)
        sizes = torch.zeros(len(rows), dtype=torch.int64)
        broken = [""] * len(rows)
        numbers = torch.as_tensor(rows, dtype=torch.int64)
        _share(images, sizes, numbers)
        pixels = images.numpy()
        for place, row in enumerate(rows):
            try:
                content = self.source.read(int(self.positions[row]))
                sizes[place] = len(content)
                pixels[place] = decode(content, self._transform)
            except BROKEN as error:
                broken[place] = why_broken(error)
        lost = _gone(self.source) if any(broken) else ""
        return Batch(numbers, images, sizes, broken, lost)


def first_images(images: ImageSet, config: Preprocessing, count: int | None = None) -> Tensor:
    """Return ``count`` images, or all, prepared as inputs: (N, 3, height, width) float32.

    They are spread evenly over the classes and are the same in every run. Others take the place
    of images that cannot be decoded; there are fewer than ``count`` only if the set has no more.
    """
    wanted = len(images) if count is None else count
    classes = np.zeros(len(images), np.int64) if images.labels is None else images.labels.values
    chosen = spread(classes, wanted, seed=0)
    others = np.setdiff1d(np.arange(len(images)), chosen)
    decoded = DecodedImages(images.source, np.concatenate([chosen, others]), config)
    whole = (
        batch.images[0] for row in range(len(images))
        if not (batch := decoded.__getitems__([row])).broken[0]
    )  # fmt: skip
    pixels = list(itertools.islice(whole, wanted))
    inputs = torch.zeros((len(pixels), 3, *config.input_size))
    for place, image in enumerate(pixels):
        inputs[place] = image.permute(2, 0, 1)
    mean, std = (255 * torch.tensor(each).view(3, 1, 1) for each in (config.mean, config.std))
    return inputs.sub_(mean).div_(std)


def _share(*tensors: Tensor) -> None:
    """Move what a worker sends into shared memory, in place.

    Torch would do it as well, but in a thread that can only print that the memory is full (a
    container has 64 MB of it, if nobody asks for more): the parent would wait for ever.
    """
    if get_worker_info() is not None:
        for tensor in tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]


def batches(
    images: DecodedImages, chunks: Sequence[Sequence[int]], workers: int, pin_memory: bool
) -> Iterator[Batch]:
    """Yield one batch for each chunk of rows, in order, decoded by ``workers`` processes.

    Raises:
        DataError: the processes cannot be started, one was killed, or shared memory is full.
    """
    with _dead_workers_found_where_they_are_awaited(), warnings.catch_warnings():
        # torch's advice on more workers than cores; how many there are is in every report
        warnings.filterwarnings(
            "ignore", message="This DataLoader will create", category=UserWarning
        )
        loader: DataLoader[Batch] = DataLoader(
            images,
            batch_sampler=chunks,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            worker_init_fn=_leave_the_end_to_the_parent,
        )
        try:
            if workers:
                multiprocessing.Lock()  # torch's loader, without one, leaves a half that complains
            iterator = iter(loader)
        except OSError as error:  # no semaphores, memory or files
            raise DataError(
                f"the {workers} processes that decode images cannot be started ({error.strerror}): "
                "check /dev/shm and the limits on processes and files, or choose --workers 0"
            ) from error
    with _workers_watched():
        yield from iterator


@contextmanager
def _dead_workers_found_where_they_are_awaited() -> Iterator[None]:
    """Take back the handler of SIGCHLD that torch sets for its workers.

    It raises in the midst of whatever the program does, such as saving what was measured after
    the worker's end had been noticed already. A loader finds it by itself within five seconds.
    """
    child = getattr(signal, "SIGCHLD", None)  # Windows has none
    before = child and signal.getsignal(child)
    yield
    if child and signal.getsignal(child) is not before:
        signal.signal(child, before)


@contextmanager
def _workers_watched() -> Iterator[None]:
    """Say in a sentence that a worker died, or has no room for what it decodes."""
    try:
        yield
    except RuntimeError as error:
        if _NO_SHARED_MEMORY in str(error):
            raise DataError(
                "shared memory (/dev/shm) is too small for the batches that are being decoded; "
                "choose fewer --workers or a smaller --batch-size, or start a container with more "
                "--shm-size"
            ) from error
        if not str(error).startswith(_DEAD_WORKER):
            raise
        raise _died(str(error).partition(". ")[0].rstrip(". ")) from error
    except _BROKEN_OFF as error:
        raise _died(f"{type(error).__name__} while it handed a batch over") from error


def _died(how: str) -> DataError:
    return DataError(
        f"a process that decodes images died ({how}); too little memory is the usual cause: choose "
        "fewer --workers"
    )


def _gone(source: ImageSource) -> str:
    """Return the place of the images that is not there any more, or is emptied; "" if all are."""
    for place in source.places:
        if not os.path.exists(place) or (os.path.isdir(place) and not os.listdir(place)):
            return place
    return ""


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_the_end_to_the_parent(_: int) -> None:
    """Keep a run that is stopped from printing the tracebacks of its workers; the parent ends them.

    Neither Ctrl-C nor a parent that breaks off while it takes over a batch is an error here.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _without_lost_connections


def _without_lost_connections(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Report what ends a thread of a worker, but that its parent has gone."""
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, traceback)
