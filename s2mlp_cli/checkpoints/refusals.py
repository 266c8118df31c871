"""What a file is that is not read as a checkpoint, and why: true, and with a remedy that works."""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

from s2mlp_cli.errors import CheckpointError

# The number that torch.save began its files with before it wrote zip archives, as pickled.
MAGIC = struct.pack("<Q", 0x1950A86A20F9469CFC6C & 2**64 - 1)

_SAVE_AGAIN = "save it again as a state dict of tensors"

_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")

# First bytes -> what the file is, and what to do.
_FORMS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<!DOCTYPE", "a web page, not the file behind its link; download it again"),
    (b"<html", "a web page, not the file behind its link; download it again"),
    (b"\x1f\x8b", "compressed (gzip); unpack it first"),
    (b"BZh", "compressed (bzip2); unpack it first"),
    (b"\xfd7zXZ", "compressed (xz); unpack it first"),
    (b"(\xb5/\xfd", "compressed (zstd); unpack it first"),
    (b"7z\xbc\xaf", "compressed (7z); unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it; convert it to PyTorch first"),
    (b"\x93NUMPY", "a NumPy array; give the file with the weights of the whole model"),
)

# What the readers of archives and pickles raise at bytes that make no sense.
BROKEN = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
    MemoryError, OverflowError, AssertionError, struct.error,
)  # fmt: skip

# How the name of a shard ends: its number, of how many.
SHARD = re.compile(r"-0*([1-9]\d*)-of-0*([1-9]\d*)\.")

# Pickles in a legacy file before the values: number, version, machine, content, order of values.
_LEGACY_PICKLES = 5


def damaged(path: Path, error: object) -> CheckpointError:
    """Return the error for a file that is not as it was written."""
    return CheckpointError(
        f"the checkpoint {path} is truncated or damaged ({_first_line(error)}); copy or download "
        "it again"
    )


def unknown_form(path: Path, head: bytes) -> CheckpointError:
    """Name what a file is that torch.save did not write."""
    if path.name == ".metadata":
        return folder_without_index(path.parent)
    if what := next((what for magic, what in _FORMS if head.startswith(magic)), None):
        return CheckpointError(f"{path} is {what}")
    if head[257:262] == b"ustar":
        return _tar(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        if MAGIC in head[:40]:
            return _protocol(path, head[1])
        return CheckpointError(
            f"{path} is not a checkpoint: it is a pickle that torch.save did not write, and "
            "reading it could run code; save the weights with torch.save(model.state_dict(), ...)"
        )
    return CheckpointError(
        f"{path} is not a checkpoint: neither PyTorch (zip or legacy) nor safetensors; give the "
        "file with the weights"
    )


def _tar(path: Path) -> CheckpointError:
    try:
        with tarfile.open(path) as archive:
            names = [member.name for member, _ in zip(archive, range(20), strict=False)]
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        return damaged(path, error)
    if {"storages", "tensors", "pickle"} <= set(names):
        return CheckpointError(
            f"the checkpoint {path} is in PyTorch's tar format of 2016, which cannot be read "
            "without running its code; load it where you trust it, with torch.load(..., "
            f"weights_only=False), and {_SAVE_AGAIN}"
        )
    first = f" (first '{names[0]}')" if names else ""
    return CheckpointError(f"{path} is a tar archive{first}; unpack it and give the file in it")


def folder_without_index(folder: Path) -> CheckpointError:
    """Name what is in a folder, if not the index of a sharded checkpoint."""
    names = sorted(path.name for path in folder.iterdir())
    if ".metadata" in names or any(name.endswith(".distcp") for name in names):
        return _distributed(f"{folder} is", folder)
    if any(name.endswith("_states.pt") or name.startswith("global_step") for name in names):
        return CheckpointError(
            f"{folder} is a DeepSpeed checkpoint; make one file of it with the zero_to_fp32.py "
            "that DeepSpeed wrote beside it"
        )
    files = [name for name in names if name.endswith(_WEIGHT_FILES)]
    shards = [name for name in files if SHARD.search(name)]
    if shards:
        return CheckpointError(
            f"{folder} has {len(shards)} shards (the first is {shards[0]}) without their index, a "
            "file that ends in .index.json; copy or download it too"
        )
    such = f", such as {files[0]}" if files else ""
    return CheckpointError(f"{folder} is a folder; give the checkpoint file in it{such}")


def _distributed(what: str, folder: Path) -> CheckpointError:
    return CheckpointError(
        f"{what} a distributed checkpoint (DCP); make one file of the folder: python -m "
        f"torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pth"
    )


def check_zip(path: Path) -> None:
    """Refuse a TorchScript program, and an archive that torch never wrote."""
    if path.suffix == ".distcp":
        raise _distributed(f"{path} is a piece of", path.parent)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
            total = sum(entry.file_size for entry in archive.infolist())
            first = next(iter(archive.namelist()), "")
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise damaged(path, error) from error  # NotImplementedError: a version of zip not known
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
    if "archive_format" in names:
        raise CheckpointError(
            f"{path} is an exported program (torch.export), not weights; save model.state_dict() "
            "of the original model"
        )
    if "data.pkl" not in names:
        raise CheckpointError(
            f"{path} is a zip archive (first '{first[:40]}'), but not one of PyTorch's; give the "
            "file with the weights"
        )


def most_bytes(file_bytes: int) -> int:
    """Return the bytes that a file of this size may turn into: torch compresses none."""
    return 20 * file_bytes + 2**24


def unpickling(path: Path, message: str) -> CheckpointError:
    """Say why torch's safe reader did not read a pickle, in its own words."""
    reason = _reason(message)
    if not zipfile.is_zipfile(path) and (fault := _fault_of_legacy(path, reason)):
        return damaged(path, fault)  # within a name, what is left of it is what it asks for
    found = re.search(r"(?:GLOBAL|global|class|function)\s+[`'\"]?([\w.]+\.[\w]+)", reason)
    if "distributed.tensor" in reason:
        return CheckpointError(
            f"the checkpoint {path} contains distributed tensors (DTensor), of which each process "
            "saved a piece; gather them before saving (full_state_dict=True)"
        )
    if "nsupported" in reason and "operand" not in reason and found:
        return CheckpointError(
            f"the checkpoint {path} is refused: it asks for {found[1]}, and only tensors and plain "
            f"data are loaded; {_SAVE_AGAIN}"
        )
    return unreadable(path, reason)


def unreadable(path: Path, error: object) -> CheckpointError:
    """Tell a file that is damaged from a sound one that torch does not read."""
    is_zip = zipfile.is_zipfile(path)
    fault = _fault_of_zip(path) if is_zip else _fault_of_legacy(path, error)
    if fault is not None:
        return damaged(path, fault)
    if is_zip and "operand" in str(error) and (protocol := _protocol_of(path)) > 2:
        return _protocol(path, protocol, f": {_first_line(error)}")
    return CheckpointError(
        f"torch's safe reader cannot load the checkpoint {path} ({_first_line(error)}); "
        f"{_SAVE_AGAIN}"
    )


def _protocol(path: Path, protocol: int, reason: str = "") -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} is written in pickle protocol {protocol}, which torch's safe "
        f"reader does not read{reason}; load it where you trust it, with torch.load(..., "
        "weights_only=False), and save it again with torch.save's own protocol, 2"
    )


def _fault_of_zip(path: Path) -> str | None:
    """Return what is wrong with the archive itself, by its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = archive.testzip()
    except (*BROKEN, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        return _first_line(error)
    return name and f"the checksum of {name} is wrong"


def _fault_of_legacy(path: Path, error: object) -> str | None:
    """Return what is wrong with a file without checksums: its pickles, or what follows them."""
    if not isinstance(error, str):  # the pickles were read
        return _first_line(error)
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in names
            for _ in range(_LEGACY_PICKLES):
                for _ in pickletools.genops(stream):
                    pass
    except BROKEN as broken:
        return _first_line(broken)
    return None


def _protocol_of(path: Path) -> int:
    """Return the pickle protocol of a sound archive."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as member:
            head = member.read(2)
    return head[1] if head[:1] == pickle.PROTO else 0


def _reason(message: str) -> str:
    """Return torch's own reason, without its advice to switch the safety off."""
    text = message.partition("\n\nCheck the documentation")[0]
    for mark in ("WeightsUnpickler error:", "\n\n", "Weights only load failed."):
        if mark in text:
            text = text.partition(mark)[2]
    return text.strip()


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(".")
