"""Reading a checkpoint file. Its code never runs: pickles are loaded with ``weights_only``."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import pickle
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open

from s2mlp_cli.checkpoints import refusals
from s2mlp_cli.errors import CheckpointError
from s2mlp_cli.files import plain_path

_RECONSTRUCT_SCALAR = np.float64(0).__reduce__()[0]
_RECONSTRUCT_ARRAY = np.zeros(1).__reduce__()[0]

# Beside tensors and plain containers: data without behaviour. Nothing else is ever loaded.
_ALLOWED: list[Any] = [
    argparse.Namespace,  # what training scripts save as their arguments
    pathlib.PosixPath,
    np.dtype,
    np.ndarray,
    *{type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OV"},
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # numpy 1 and 2
        for function, name in (
            (_RECONSTRUCT_SCALAR, "scalar"),
            (_RECONSTRUCT_ARRAY, "_reconstruct"),
        )
    ),
]


# Bytes of the header of a safetensors file: its length, then a brace, are how it begins.
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class CheckpointFile:
    """The content of a file.

    Attributes:
        content: a mapping of tensors, or a wrapper around one.
        form: ``"PyTorch zip"``, ``"PyTorch legacy"`` or ``"safetensors"``; of several files with
            their number.
        sha256: of the file; of several the digest of their digests.
        metadata: of a safetensors file; empty for the others.
    """

    path: Path
    content: Any
    form: str
    sha256: str
    bytes: int
    metadata: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> CheckpointFile:
    """Read a PyTorch (zip or legacy) or safetensors file, recognised by its first bytes.

    The index of a sharded checkpoint, or the folder that it is in, is read as all its shards.

    Raises:
        CheckpointError: it is missing, not a checkpoint, damaged, or contains more than data.
    """
    path = Path(path)
    try:
        if path.is_dir():
            path = _index_in(path)
        return _read_shards(path) if path.name.endswith(".index.json") else _read_file(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        place, reason = path, str(error)
        if isinstance(error, OSError):
            place, reason = error.filename or path, error.strerror or reason
        raise CheckpointError(
            f"the checkpoint {place} cannot be read: {reason}; check the path and its permissions"
        ) from error


def _read_file(path: Path) -> CheckpointFile:
    with open(path, "rb") as stream:
        head = stream.read(512)
    if not head:
        raise CheckpointError(f"the checkpoint {path} is empty; copy or download it again")
    metadata: dict[str, str] = {}
    if head.startswith(b"PK\x03\x04"):
        refusals.check_zip(path)
        form, content = "PyTorch zip", _load_pickle(path)
    elif refusals.MAGIC in head[:40] and head.startswith(b"\x80\x02"):
        form, content = "PyTorch legacy", _load_pickle(path)
    elif head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < _LONGEST_HEADER:
        form, (content, metadata) = "safetensors", _load_safetensors(path)
    else:
        raise refusals.unknown_form(path, head)
    return CheckpointFile(path, content, form, sha256_of(path), path.stat().st_size, metadata)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _load_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old formats do not concern the user
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise refusals.unpickling(path, str(error)) from error
    except refusals.BROKEN as error:
        raise refusals.unreadable(path, error) from error


def _load_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with plain_path(path) as plain, safe_open(plain, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise refusals.damaged(path, error) from error


def _index_in(folder: Path) -> Path:
    """Return the index of the sharded checkpoint in a folder."""
    names = sorted(os.listdir(folder), key=lambda name: ("safetensors" not in name, name))
    if index := next((name for name in names if name.endswith(".index.json")), None):
        return folder / index
    raise refusals.folder_without_index(folder)


class _Index(BaseModel):
    """The index of a sharded checkpoint: the file of each tensor, beside the index."""

    weight_map: dict[str, Annotated[str, Field(pattern=r"^[^/]+$")]] = Field(min_length=1)


def _read_shards(index: Path) -> CheckpointFile:
    """Read all files that an index names, as one."""
    try:
        places = _Index.model_validate_json(index.read_bytes(), strict=True).weight_map
    except ValidationError as error:
        raise CheckpointError(
            f"{index} is not the index of a sharded checkpoint: its weight_map should give the "
            "file of each tensor, beside the index; download it again"
        ) from error
    shards = [_read_file(index.parent / name) for name in sorted(set(places.values()))]
    by_name = {shard.path.name: shard for shard in shards}
    content = {}
    for name, shard in places.items():
        tensors = by_name[shard].content
        if not isinstance(tensors, dict) or name not in tensors:
            raise CheckpointError(
                f"{index} says that {name} is in {shard}, which does not have it; copy or download "
                "both again"
            )
        content[name] = tensors[name]
    digest = hashlib.sha256("".join(shard.sha256 for shard in shards).encode()).hexdigest()
    size = index.stat().st_size + sum(shard.bytes for shard in shards)
    metadata = {key: text for shard in shards for key, text in shard.metadata.items()}
    form = f"{shards[0].form}, {len(shards)} shards"
    return CheckpointFile(index, content, form, digest, size, metadata)
