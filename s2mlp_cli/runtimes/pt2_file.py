"""Torch's ExportedProgram (.pt2), loaded without running code, or refused.

``torch.export.load`` unpickles weights, constants and sample inputs that say so, evaluates the
expressions of symbolic sizes, and looks operators up by any dotted name. A file of ours needs none
of that, so whatever could run code is found in the archive and refused before torch sees it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from s2mlp_cli.errors import ExportError
from s2mlp_cli.runtimes.facts import Facts, reading, refuse_channels_last

# Files that an archive may have below its root folder.
_FILES = re.compile(
    r"(archive_format|archive_version|byteorder|version|\.data/\w+|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/s2mlp\.\w+)"
)
# Operators: torch's own, and arithmetic of sizes.
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|torchvision)\.\w+\.\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|ge|le|gt|lt|eq|ne|getitem|and_|or_)"
    r"|math\.(ceil|floor|trunc)|torch\.sym_(int|float|max|min|not|sqrt)"
)
# Words of an expression of sizes, as torch prints them.
_WORD = re.compile(
    r"Symbol|Integer|Add|Mul|Pow|Mod|FloorDiv|Max|Min|CeilDiv|TruncToInt"
    r"|positive|integer|nonnegative|True|False|[su]\d+"
)
_CHARACTERS = re.compile(r"[\w\s()'*+\-/,=<>!]*")

# What the images of a program can be in.
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# What zipfile, json and torch raise for a file that is cut, changed or of another version.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, TypeError),
    *(RuntimeError, AssertionError),
)


def load_pt2(path: Path) -> tuple[nn.Module, Facts]:
    """Load a program and return its module with its facts.

    Raises:
        ExportError: it is damaged, could run code when it is loaded, or is no image classifier.
    """
    with reading(path, _BROKEN), open(path, "rb") as stream:
        with zipfile.ZipFile(stream) as archive:
            metadata = _refuse_code(path, archive)
        stream.seek(0)
        program = torch.export.load(stream)
    return program.module(), _facts(path, program, metadata)


def _refuse_code(path: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    """Check everything that torch would execute, and return the metadata of s2mlp."""
    names = archive.namelist()
    root = names[0].split("/", 1)[0] + "/" if names else ""
    inside = {name.removeprefix(root): name for name in names}
    for name in inside:
        if not _FILES.fullmatch(name):
            raise _refused(path, f"it holds {name}, which a program of weights does not need")
    for config in (
        "data/weights/model_weights_config.json",
        "data/constants/model_constants_config.json",
    ):
        entries = json.loads(archive.read(inside[config]))["config"]
        if any(entry["use_pickle"] for entry in entries.values()):
            raise _refused(path, f"{config} asks for pickled tensors")
    _check_program(path, json.loads(archive.read(inside["models/model.json"])))
    try:
        torch.load(
            io.BytesIO(archive.read(inside["data/sample_inputs/model.pt"])), weights_only=True
        )
    except Exception as error:
        raise _refused(path, "its sample inputs are not plain tensors") from error
    return {
        name.removeprefix("extra/"): archive.read(real).decode()
        for name, real in inside.items()
        if name.startswith("extra/")
    }


def _check_program(path: Path, program: Any) -> None:
    for key, value in _leaves(program):
        if key == "target" and not _TARGET.fullmatch(value):
            raise _refused(path, f"it calls {value!r}")
        if key == "expr_str" and not _is_size(value):
            raise _refused(path, f"a size is the expression {value!r}")
        if key == "guards_code" and value:
            raise _refused(path, "it holds guards, which are Python code")


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string with the key that it has, however deep, and of lists each item."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    elif isinstance(value, str):
        yield key, value


def _is_size(text: str) -> bool:
    words = re.findall(r"[A-Za-z_]\w*", text)
    return all(map(_WORD.fullmatch, words)) and _CHARACTERS.fullmatch(text) is not None


def _refused(path: Path, why: str) -> ExportError:
    return ExportError(
        f"{path} could run code when it is loaded ({why}), and is refused; export it again with "
        "s2mlp export"
    )


def _facts(path: Path, program: Any, metadata: dict[str, str]) -> Facts:
    nodes = {node.name: node for node in program.graph.nodes}
    inputs = program.graph_signature.user_inputs
    outputs = program.graph_signature.user_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; an image classifier has "
            "one of each"
        )
    images, logits = (nodes[names[0]].meta["val"] for names in (inputs, outputs))
    if images.ndim != 4 or logits.ndim != 2:
        raise ExportError(
            f"{path} maps {images.ndim} dimensions to {logits.ndim}; an image classifier maps "
            "B,C,H,W to B,classes"
        )
    precision = next((name for name, dtype in DTYPES.items() if dtype == images.dtype), None)
    if precision is None:
        raise ExportError(
            f"{path} takes images of {images.dtype}; a classifier takes {', '.join(DTYPES)}"
        )
    batch, *image = (size if isinstance(size, int) else None for size in images.shape)
    refuse_channels_last(path, image)
    classes = logits.shape[1]
    calls = Counter(str(each.target) for each in program.graph.nodes if each.op == "call_function")
    return Facts(
        batch_size=batch,
        image=(image[0], image[1], image[2]),
        classes=classes if isinstance(classes, int) else None,
        precision=precision,
        nodes=dict(calls.most_common()),
        metadata=metadata,
    )
