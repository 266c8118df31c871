"""Whatever ends a run early, nothing that was measured is lost.

One image of the set is a named pipe: whoever reads it waits, so that the program stands still at a
known moment, with nothing timed.
"""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from s2mlp_cli.records.predictions import load_predictions
from tests.commands.test_validate import SIZE, in_process, program
from tests.digits import class_folders, save_zip
from tests.processes import members, needs_proc, wait_until

STALL = 40


class Stalled:
    """A validation in a process of its own, standing at image number :data:`STALL`."""

    def __init__(self, digits, root, *arguments):
        self.root = root
        self.folder = class_folders(digits, root)[0] / "val"
        self.image = sorted(self.folder.rglob("*.JPEG"))[STALL]
        self.content = self.image.read_bytes()
        save_zip(digits.model.state_dict(), root / "digits.pth")
        self.progress = root / "progress"
        self.arguments = ("--ckpt", root / "digits.pth", "--data", self.folder,
                          "--batch-size", "4", "--resume", self.progress, *SIZE)  # fmt: skip
        self.image.unlink()
        os.mkfifo(self.image)
        self.process = subprocess.Popen(
            program(*self.arguments[:-2], *(arguments or SIZE[-2:])), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.pipe = self._wait_for_reader()
        assert wait_until(self.progress.exists, 60)

    def _wait_for_reader(self):
        """Return the writing end of the pipe, which opens once somebody reads."""
        while self.process.poll() is None:
            try:
                return os.open(self.image, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads yet
                    raise
                time.sleep(0.01)
        raise AssertionError(self.process.communicate())

    def children(self):
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in task.read_text().split()]

    def end(self):
        """Let the pipe go; return exit status, the lines of stderr and stdout."""
        os.close(self.pipe)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, [line for line in err.splitlines() if line], out

    def resume(self):
        """Restore the image, go on, and hold that all is as if nothing had happened."""
        self.image.unlink()
        self.image.write_bytes(self.content)
        resumed, predictions = self._finish(*self.arguments)
        assert 0 < resumed.resumed_images < 100
        without = self.arguments[: self.arguments.index("--resume")]
        unbroken, expected = self._finish(*without, *SIZE)
        assert predictions == expected
        for name in ("correct1", "correct5", "loss", "ece", "confusions", "images", "failures"):
            assert getattr(resumed, name) == getattr(unbroken, name), name
        assert unbroken.images == 100
        left = {path.name for path in self.root.iterdir()}
        assert left == {"val", "digits.pth", "progress", "p.csv"}

    def _finish(self, *arguments):
        result = in_process(*arguments, "--predictions", self.root / "p.csv")
        return result, load_predictions(self.root / "p.csv")


@pytest.fixture
def start(digits, tmp_path):
    started = []

    def begin(*arguments):
        started.append(Stalled(digits, tmp_path, *arguments))
        return started[0]

    yield begin
    for each in started:
        each.process.kill()
        each.process.wait()


KEPT = "progress is saved; continue with --resume {}"


def test_killed_outright_it_goes_on_bit_by_bit(start):
    run = start()
    (run.root / ".progress.killed.tmp").write_bytes(b"half of it")  # as a kill while saving leaves
    run.process.send_signal(signal.SIGKILL)
    assert run.end()[0] == -signal.SIGKILL
    run.resume()


@needs_proc
def test_a_signal_ends_it_in_order_with_its_workers(start):
    run = start("--workers", "2")
    assert len(run.children()) >= 2
    run.process.send_signal(signal.SIGTERM)
    status, said, out = run.end()
    assert (status, out) == (128 + signal.SIGTERM, "")
    assert said == [KEPT.format(run.progress)]
    assert wait_until(lambda: not members(run.process.pid), 60)
    run.resume()


def test_an_impatient_second_ctrl_c_breaks_nothing(start):
    run = start()
    run.process.send_signal(signal.SIGINT)
    run.process.send_signal(signal.SIGINT)
    status, said, _ = run.end()
    assert (status, said) == (130, [KEPT.format(run.progress), "stopped"])
    run.resume()


@needs_proc
def test_a_worker_that_is_killed_is_reported(start):
    run = start("--workers", "1")
    os.kill(run.children()[-1], signal.SIGKILL)
    status, said, _ = run.end()
    assert status == 1
    assert said[0] == KEPT.format(run.progress)
    assert len(said) == 2
    assert said[1].startswith("error: a process that decodes images died (")
    run.resume()


def test_a_folder_that_vanishes_ends_the_run_and_breaks_no_image(start):
    run = start()
    away = run.folder.rename(run.root / "away")
    status, said, _ = run.end()
    assert status == 1
    assert said[-1] == (
        f"error: {run.folder} disappeared during the run; restore it, and run again"
    )
    assert said[:-1] == [KEPT.format(run.progress)]
    away.rename(run.folder)
    run.resume()
