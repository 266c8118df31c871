"""Where the model of a record came from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from s2mlp_cli.records.base import Frozen

SourceKind = Literal["spec", "checkpoint", "python", "module", "exported"]


class ModelSource(Frozen):
    """Where a model came from: enough to open it again and to see that it is the same.

    Attributes:
        kind: ``spec``: a built-in name, YAML file or timm model. ``checkpoint``: a file of weights.
            ``python``: a function or class in a Python file. ``module``: a module that a Python
            program passed. ``exported``: an ONNX or ExportedProgram file.
        name: what tables call it.
        path: as the user gave it: ``v2-small``, ``best.pth``, ``nets/net.py:build``.
        arguments: what a Python function was called with (``--set``).
        sha256: of the file; None for a spec or a module.
        imports: the user's own files that a Python file imports -> their sha256.
        weights: the checkpoint file whose weights a Python model got, and ``weights_sha256``.
        averaged: whether the averaged (EMA) weights of the checkpoint were taken.
        key: the key or prefix of the weights in a checkpoint with several (``--weights``).
    """

    kind: SourceKind
    name: str
    path: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    sha256: str | None = None
    imports: dict[str, str] = Field(default_factory=dict)
    weights: str | None = None
    weights_sha256: str | None = None
    averaged: bool = False
    key: str | None = None
