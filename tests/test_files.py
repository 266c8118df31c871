"""A record file is the old one or the new one, never a part."""

import os
import subprocess
import sys

import pytest

from s2mlp_cli.errors import WriteError
from s2mlp_cli.files import replacing, write_atomically
from s2mlp_cli.records.reading import read_record
from tests import samples


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, where one can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here, which a full disk needs")
    if done.returncode:
        pytest.skip(f"a full disk needs a tmpfs, and mount says: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_record_whole(small_disk):
    path = small_disk / "record.json"
    record = samples.count()
    write_atomically(path, record.to_json())
    with pytest.raises(WriteError, match=f"cannot write {path}: No space left on device; free"):
        write_atomically(path, "x" * 200_000)
    assert read_record(path) == record
    assert os.listdir(small_disk) == ["record.json"]


def test_a_write_that_fails_half_way_leaves_the_old_record_whole(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["record.json"]


WRITING = """
import sys
from s2mlp_cli.files import replacing
with replacing(sys.argv[1]) as file:
    file.write_text("half")
    print(file, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "record.json"
    words = [sys.executable, "-c", WRITING, path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline().startswith(str(tmp_path / ".record.json.").encode())
        writer.kill()
    assert len(os.listdir(tmp_path)) == 1
    write_atomically(tmp_path / "record", "another file")
    assert len(os.listdir(tmp_path)) == 2
    write_atomically(path, "new")
    assert sorted(os.listdir(tmp_path)) == ["record", "record.json"]


def test_what_a_living_writer_has_begun_is_left_to_it(tmp_path):
    path = tmp_path / "record.json"
    with replacing(path) as file:
        file.write_text("slow")
        write_atomically(path, "quick")
        assert path.read_text() == "quick"
    assert path.read_text() == "slow"
    assert os.listdir(tmp_path) == ["record.json"]
