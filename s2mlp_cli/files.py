"""Writing files so that each is the old one or the new one, and never a part of either."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from s2mlp_cli.errors import WriteError, printable

# The ending of files that are being written; their names begin with a dot.
TEMPORARY = ".tmp"

# A disk or a quota that is used up, a file over the limit of the shell.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Where Linux shows the open files of this process.
_DESCRIPTORS = "/proc/self/fd"

# What mkstemp puts between the name of the file and the ending.
_RANDOM = "?" * 8


def check_writable(path: Path, remedy: str) -> None:
    """Check, before a long run, that its result can be saved to ``path`` after it.

    Raises:
        WriteError: the folder is missing or read-only.
    """
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder '{path.parent}' to write to; make it, or {remedy}")
    if not os.access(path.parent, os.W_OK):
        raise WriteError(f"the folder '{path.parent}' is read-only; {remedy}")


def write_atomically(
    path: str | Path, content: str | bytes, remedy: str = "choose another -o"
) -> None:
    """Write ``content`` beside ``path``, then rename: see :func:`replacing`.

    Raises:
        WriteError: the folder is missing, read-only or full; the old file is untouched.
    """
    with replacing(path, remedy) as file:
        file.write_bytes(printable(content).encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: str | Path, remedy: str = "choose another -o") -> Iterator[Path]:
    """Yield a file beside ``path`` that takes its place once all is written, and never before.

    Readers see the old file or the new one. Whatever ends the writing leaves the old file
    untouched and nothing beside it; what kill -9 leaves is removed by the next that writes.

    Args:
        path: the file to write; a symbolic link is followed, so that its target is replaced.
        remedy: what to do if it cannot be written, in words.

    Raises:
        WriteError: the folder is missing, read-only or full.
    """
    target = Path(path)
    target = target.resolve() if target.is_symlink() else target
    try:
        if target.exists() and not target.is_file():  # /dev/stdout, a pipe: nothing to keep whole
            yield target
            return
        _remove_remains(target)
        with _temporary(target) as temporary:
            yield temporary
            _put(temporary, target)
    except OSError as error:
        space = "free some space, or " if error.errno in NO_ROOM else ""
        raise WriteError(f"cannot write {path}: {error.strerror}; {space}{remedy}") from error


@contextmanager
def plain_path(path: Path) -> Iterator[str]:
    """Yield a path of an existing file that libraries in Rust and C++ take: they want UTF-8.

    On Linux what is open can be reached by the number of its descriptor; other systems allow only
    names in UTF-8.
    """
    if not os.path.isdir(_DESCRIPTORS):
        yield os.fspath(path)
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        yield f"{_DESCRIPTORS}/{handle}"
    finally:
        os.close(handle)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Yield an empty file beside ``target``, locked as long as this process lives and needs it."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=TEMPORARY)
    _lock(handle)
    try:
        yield Path(name)
    finally:
        os.close(handle)
        Path(name).unlink(missing_ok=True)


def _remove_remains(target: Path) -> None:
    """Remove what killed writers of ``target`` left: nobody holds its lock any more."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.{_RANDOM}{TEMPORARY}"):
        with suppress(OSError), open(left, "rb+") as stream:
            if _lock(stream.fileno()):
                left.unlink()


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed; False if another has it, or the disk has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _put(temporary: Path, target: Path) -> None:
    """Rename, once the content is on the disk, with the permissions that a new file would get."""
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    umask = os.umask(0)
    os.umask(umask)
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~umask
    os.chmod(temporary, mode)
    os.replace(temporary, target)
