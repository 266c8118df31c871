"""Records: what a command measured, as frozen data that is saved as JSON and read back.

A record holds raw values, seconds and bytes and counts, never formatted text. Its ``schema`` is
``"s2mlp.<kind>/<version>"``; every kind has a module beside this one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from s2mlp_cli.errors import RecordError

TEMPORARY = ".tmp"
"""The ending of files that are being written; their names begin with a dot."""


class Frozen(BaseModel):
    """Base of everything in a record: immutable, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="null", populate_by_name=True
    )


class Environment(Frozen):
    """Where a measurement was made: what another person needs in order to repeat it."""

    s2mlp: str
    python: str
    platform: str
    cpu: str
    cpu_count: int
    packages: dict[str, str]
    cuda: str | None = None
    gpus: tuple[str, ...] = ()
    driver: str | None = None


def now() -> datetime:
    """Return the present moment in UTC, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)


class Record(Frozen):
    """The frame that all kinds share; a kind adds ``results``."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    schema_: str = Field(alias="schema")
    created: datetime
    command: tuple[str, ...]
    environment: Environment
    results: tuple[Any, ...]

    @classmethod
    def schema_name(cls) -> str:
        """Return the name that this kind and version carries in its files."""
        return f"s2mlp.{cls.kind}/{cls.version}"

    @classmethod
    def new(cls, **fields: Any) -> Self:
        """Make a record of this kind, with its schema and the present time filled in."""
        return cls.model_validate({"schema": cls.schema_name(), "created": now(), **fields})

    def to_json(self) -> str:
        """Return the record as one indented JSON document that ends with a newline."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


@contextmanager
def replacing(path: str | Path, remedy: str = "choose another -o") -> Iterator[Path]:
    """Yield a file beside ``path`` that takes its place once all is written, and never before.

    Readers see the old file or the new one. Whatever ends the writing leaves the old file
    untouched and nothing beside it.

    Args:
        path: the file to write; a symbolic link is followed, so that what it names is replaced.
        remedy: what to do where it cannot be written, in words.

    Raises:
        RecordError: the folder is missing, read-only or full.
    """
    target = Path(path)
    target = target.resolve() if target.is_symlink() else target
    temporary = target
    try:
        if target.exists() and not target.is_file():  # /dev/stdout, a pipe: nothing to keep whole
            yield target
            return
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=TEMPORARY
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _put(temporary, target)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}; {remedy}") from error
    finally:
        if temporary != target:
            temporary.unlink(missing_ok=True)


def write_atomically(
    path: str | Path, content: str | bytes, remedy: str = "choose another -o"
) -> None:
    """Write ``content`` beside ``path``, then rename: see :func:`replacing`.

    Raises:
        RecordError: the folder is missing, read-only or full; the old file is untouched.
    """
    with replacing(path, remedy) as file:
        file.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def _put(temporary: Path, target: Path) -> None:
    """Rename, once the content is on the disk, under the rights that a new file would have."""
    with open(temporary, "rb") as stream:
        os.fsync(stream.fileno())
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    os.chmod(temporary, mode)
    os.replace(temporary, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
