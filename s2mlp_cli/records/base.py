"""Records: what a command measured, as frozen data that is saved as JSON and read back.

A record holds raw values, seconds and bytes and counts, never formatted text. Its ``schema`` is
``"s2mlp.<kind>/<version>"``; every kind has a module beside this one.
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from s2mlp_cli.errors import RecordError


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


def write_atomically(path: str | Path, text: str) -> None:
    """Write ``text`` beside ``path``, then rename: readers see the old file or the new one.

    Raises:
        RecordError: the folder is missing, read-only or full; the old file is untouched.
    """
    target = Path(path)
    # A symbolic link is followed, so that the file it names is replaced and not the link.
    target = target.resolve() if target.is_symlink() else target
    if target.exists() and not target.is_file():  # /dev/stdout, a pipe: nothing to keep whole
        _write_plainly(target, text)
        return
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, target)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}; choose another -o") from error
    finally:  # Ctrl-C too leaves no half of a file behind
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def _write_plainly(target: Path, text: str) -> None:
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {target}: {error.strerror}; choose another -o") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
