"""Broken images keep their place and say why, in the same words every time."""

import errno
import multiprocessing
import os
import re
import signal

import numpy as np
import pytest
import torch
from torch.utils.data._utils import signal_handling

from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.loader import DecodedImages, batches, first_images
from s2mlp_cli.errors import DataError
from s2mlp_cli.preprocessing import Preprocessing
from tests.data.sets import batch, decoded
from tests.digits import GREY, fill, png, tar_of


@pytest.fixture
def two(tmp_path):
    """Two images in class folders of a tar, ready to be decoded."""
    return decoded(open_images(tar_of(tmp_path / "x.tar", {"a/1.png": GREY, "b/2.png": GREY})))


@pytest.mark.parametrize("content", [b"no image", GREY[:40], b"", b"\xff\xd8\xff"])
def test_a_reason_is_one_line_and_the_same_every_time(content, tmp_path):
    tar = tar_of(tmp_path / "x.tar", {"a/1.png": GREY, "b/2.png": content})
    first, second = batch(open_images(tar)), batch(open_images(tar))
    assert first.broken == second.broken
    assert first.broken[0] == ""
    assert re.fullmatch(r"[\x20-\x7e]+", first.broken[1])
    assert " at 0x" not in first.broken[1]
    assert first.lost == ""


def test_a_set_that_has_gone_is_lost_and_not_broken(two, tmp_path):
    (tmp_path / "x.tar").unlink()
    assert two.__getitems__([0, 1]).lost == str(tmp_path / "x.tar")


def test_a_folder_that_was_unmounted_is_empty_and_lost(tmp_path):
    folder = fill(tmp_path / "val", "a/1.png", "b/2.png")
    images = decoded(open_images(folder))
    (folder / "a" / "1.png").unlink()
    one_less = images.__getitems__([0, 1])
    assert one_less.broken[0].startswith("FileNotFoundError: ")
    assert (one_less.broken[1], one_less.lost) == ("", "")
    folder.rename(tmp_path / "away")
    folder.mkdir()
    assert images.__getitems__([1]).lost == str(folder)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), DataError,
            r"died \(.*is killed by signal: Killed\); too little memory",
        ),
        (EOFError(), DataError, "EOFError while it handed a batch"),
        (RuntimeError("mat1 and mat2 shapes"), RuntimeError, "mat1 and mat2"),
    ],
)  # fmt: skip
def test_only_torchs_report_of_a_dead_worker_becomes_a_sentence(
    error, kind, message, two, monkeypatch
):
    def broken_off(*_):
        raise error

    monkeypatch.setattr(DecodedImages, "__getitems__", broken_off)
    with pytest.raises(kind, match=message):
        next(batches(two, [[0]], workers=0, pin_memory=False))


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="needs the signal of a dead child")
def test_a_worker_that_dies_interrupts_nothing(two, monkeypatch):
    """What was measured is being saved, perhaps: its death is found where a batch is awaited."""
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    before = signal.getsignal(signal.SIGCHLD)
    loaded = batches(two, [[0], [1]], workers=1, pin_memory=False)
    assert next(loaded).rows.tolist() == [0]
    assert signal.getsignal(signal.SIGCHLD) is before
    assert [batch.rows.tolist() for batch in loaded] == [[1]]


def test_a_worker_without_room_for_a_batch_ends_the_run(two, monkeypatch):
    """It must not be found by torch's own thread in the worker, which prints it and waits."""

    def full(tensor):
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_7>: No space left on device (28)"
        )

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(DataError, match="too small for the batches.*fewer"):
        next(batches(two, [[0], [1]], workers=1, pin_memory=False))
    assert len(list(batches(two, [[0, 1]], workers=0, pin_memory=False))) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a set of cores")
def test_more_workers_than_cores_are_the_users_choice(two, monkeypatch):
    """torch would warn of it, and warnings are errors in tests."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    loaded = batches(two, [[0], [1]], workers=2, pin_memory=False)
    assert [batch.rows.tolist() for batch in loaded] == [[0], [1]]


def test_processes_that_cannot_start_are_a_sentence(two, monkeypatch):
    """Without a /dev/shm that can be written to there are no semaphores, and no workers."""

    def read_only():
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing, "Lock", read_only)
    message = r"the 2 processes .*\(Read-only file system\).*--workers 0"
    with pytest.raises(DataError, match=message):
        next(batches(two, [[0]], workers=2, pin_memory=False))
    assert len(list(batches(two, [[0]], workers=0, pin_memory=False))) == 1


def test_first_images_are_spread_over_the_classes_and_broken_ones_replaced(tmp_path):
    """The grey level says which image it is: 10 times its class, plus its number."""
    grey = {
        f"{c}/{i}.png": png(np.full((8, 8, 3), 10 * c + i, np.uint8))
        for c in range(3)
        for i in range(4)
    }
    images = open_images(tar_of(tmp_path / "x.tar", {**grey, "1/1.png": b"no image"}))
    config = Preprocessing(input_size=(8, 8), crop_pct=1.0)
    inputs = first_images(images, config, 6)
    mean, std = (torch.tensor(each) for each in (config.mean, config.std))
    levels = (inputs[:, :, 0, 0] * std + mean) * 255
    numbers = levels.round().int()
    assert inputs.shape == (6, 3, 8, 8)
    assert torch.allclose(levels, numbers.float(), atol=1e-3)
    assert (numbers // 10)[:, 0].bincount().min() >= 1
    assert torch.equal(inputs, first_images(images, config, 6))
    assert len(first_images(images, config)) == len(first_images(images, config, 99)) == 11
