"""Reading a checkpoint file. Its code never runs: pickles are loaded with ``weights_only``."""

from __future__ import annotations

import _codecs
import argparse
import hashlib
import json
import pickle
import re
import struct
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from s2mlp_cli.errors import CheckpointError

# Beside tensors and plain containers: data without behaviour. Nothing else is ever loaded.
_ALLOWED: list[Any] = [
    argparse.Namespace,  # what training scripts save as their arguments
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
    np.dtypes.Int32DType,
    np.dtypes.BoolDType,
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),  # numpy 1
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),  # numpy 2
    _codecs.encode,  # how pickle's protocol 2 writes the bytes of a numpy scalar
]

_LEGACY_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


@dataclass(frozen=True)
class CheckpointFile:
    """What a file holds.

    Attributes:
        content: a mapping of tensors, or a wrapper around one.
        form: ``"PyTorch zip"``, ``"PyTorch legacy"`` or ``"safetensors"``.
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

    Raises:
        CheckpointError: it is missing, no checkpoint, damaged, or holds more than data.
    """
    path = Path(path)
    size = _check_file(path)
    with open(path, "rb") as stream:
        head = stream.read(16)
    metadata: dict[str, str] = {}
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)
        form, content = "PyTorch zip", _load_pickle(path)
    elif head.startswith(_LEGACY_MAGIC[:16]):
        form, content = "PyTorch legacy", _load_pickle(path)
    elif _looks_like_safetensors(head, size):
        form, (content, metadata) = "safetensors", _load_safetensors(path)
    else:
        raise CheckpointError(
            f"{path} is not a checkpoint: neither PyTorch (zip or legacy) nor safetensors; give "
            "the file that holds the weights"
        )
    return CheckpointFile(path, content, form, sha256_of(path), size, metadata)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_file(path: Path) -> int:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the checkpoint file in it")
    try:
        size = path.stat().st_size
        path.open("rb").close()
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be read: {error.strerror}; check the path given with "
            "--ckpt"
        ) from error
    if not size:
        raise CheckpointError(f"the checkpoint {path} is empty; copy or download it again")
    return size


def _check_zip(path: Path) -> None:
    """Refuse a TorchScript program, and an archive that torch never wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
            total = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if total > most_bytes(path.stat().st_size):
        raise CheckpointError(
            f"the checkpoint {path} would swell to {total:,} bytes, as weights never do; give the "
            "file as torch.save wrote it"
        )
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise CheckpointError(
            f"the checkpoint {path} is a TorchScript program, not weights, and no code of a "
            "checkpoint is run; save model.state_dict() of the original model"
        )
    if "data.pkl" not in names:
        raise CheckpointError(
            f"{path} is a zip archive, but not one of PyTorch's; give the file that holds the "
            "weights"
        )


def most_bytes(file_bytes: int) -> int:
    """Return the bytes that a file of this size may turn into: torch compresses none."""
    return 20 * file_bytes + 2**24


def _load_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old formats do not concern the user
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        IndexError,
        struct.error,
        AssertionError,
        zipfile.BadZipFile,
    ) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} is truncated or damaged ({_first_line(error)}); copy or download "
        "it again"
    )


def _refusal(path: Path, message: str) -> CheckpointError:
    """Name what the pickle wanted to import, as torch's own unpickler reports it."""
    found = re.search(r"(?:GLOBAL|global|class|function)\s+[`'\"]?([\w.]+\.[\w]+)", message)
    if "nsupported" in message and found:
        return CheckpointError(
            f"the checkpoint {path} is refused: it asks for {found[1]}, and only tensors and plain "
            "data are loaded; save it again as a state dict of tensors"
        )
    if "nsupported" in message:
        return CheckpointError(
            f"the checkpoint {path} is refused: it holds more than tensors and plain data "
            f"({_first_line(message)}); save it again as a state dict of tensors"
        )
    return _damaged(path, message)


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(".")


def _looks_like_safetensors(head: bytes, size: int) -> bool:
    """Tell by the first 8 bytes, the length of the header, and the brace that opens it."""
    if len(head) < 9:
        return False
    length: int = struct.unpack("<Q", head[:8])[0]
    return head[8:9] == b"{" and length < 100_000_000


def _load_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise _damaged(path, error) from error
