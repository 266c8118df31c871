"""The record of ``s2mlp export``: what was written, and the proof that it computes the same."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from s2mlp_cli.records.base import Frozen, Record, Some
from s2mlp_cli.records.source import ModelSource

Format = Literal["onnx", "pt2"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]


class Proof(Frozen):
    """The exported file and eager float32 on the same images.

    Attributes:
        runtime: that ran the file.
        images: ``random``, or ``sample`` for the digits that come with the program.
        batch_size: images in one call.
        count: images altogether.
        largest_error: ``max |exported - eager|`` over all logits.
        relative_error: that over ``max |eager|``.
        spread: median over the classes of the standard deviation of a logit between images: a
            reference that hardly varies would agree with anything.
        same_top1: images whose first class is the same; None for random weights, whose order of
            classes says nothing.
    """

    runtime: str
    images: Literal["random", "sample"]
    batch_size: Some
    count: Some
    largest_error: float
    relative_error: float
    spread: float
    same_top1: int | None = None


class ExportResult(Frozen):
    """One exported file.

    Attributes:
        model: its name.
        source: where the model came from.
        shift: the implementation in the file; None where the model has no shift.
        form: which of its forms is in the file, of one that picks it by where it runs.
        image: (channels, height, width).
        batch_size: images at a time; None is any number.
        opset: of ONNX.
        sha256: of the file.
        weights_sha256: of the weights, in the order and dtype of the state dict.
        nodes: how many nodes of each operator.
        quantised: nodes whose products are integers.
        calibration: images that fixed the ranges of a static int8 file; None is dynamic.
        seconds: that exporting took, without the proof.
        allowed: relative error up to which the file is kept; None where the error is only reported.
        notes: what was assumed.
    """

    model: str
    source: ModelSource
    format: Format
    precision: Precision
    path: str
    shift: str | None
    image: tuple[int, int, int]
    classes: int
    batch_size: int | None
    opset: int | None = None
    bytes: int
    sha256: str
    weights_sha256: str
    nodes: dict[str, int]
    quantised: tuple[str, ...] = ()
    calibration: int | None = None
    seconds: float
    allowed: float | None = None
    proofs: tuple[Proof, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    form: str | None = None


class ExportRecord(Record):
    """The record that ``s2mlp export`` writes."""

    kind: ClassVar[str] = "export"

    versions: dict[str, str] = Field(default_factory=dict)
    results: tuple[ExportResult, ...]
