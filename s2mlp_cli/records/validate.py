"""The record of ``s2mlp validate``: raw counts, and all that is needed to get them again."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.base import Frozen, Record, Some
from s2mlp_cli.records.source import ModelSource

Interval = tuple[float, float]


class CheckpointFacts(Frozen):
    """Which weights were validated, and what was read off them.

    Attributes:
        form: of the file: ``"PyTorch zip"``, ``"PyTorch legacy"`` or ``"safetensors"``.
        taken: which part of the file, and which prefixes were cut off.
        layout: whose names the tensors had.
        nearest: the built-in model of the same architecture, or the most similar one.
        stated: what tensors cannot tell, and where it was taken from.
    """

    path: str
    sha256: str
    bytes: int
    form: str
    taken: str
    layout: str
    nearest: str | None = None
    stated: tuple[str, ...] = ()


class DataFacts(Frozen):
    """Which images were validated on.

    Attributes:
        form: what was recognised.
        labels: where the classes come from.
        available: images in the set, of which ``images`` were used.
        fingerprint: of names, sizes and labels of the images used.
        limit, seed: of ``--limit``; None when all were used.
        stated: what was left out or decided while the set was recognised, in sentences.
    """

    path: str
    form: str
    labels: str
    available: int
    images: int
    classes: int
    fingerprint: str
    limit: int | None = None
    seed: int | None = None
    stated: tuple[str, ...] = ()


class Failure(Frozen):
    """An image that could not be decoded. It counts in no score."""

    name: str
    reason: str


class RealScore(Frozen):
    """The score under ImageNet-ReaL: an image is right if one of its labels was predicted."""

    images: int
    skipped: int
    correct1: int
    correct5: int
    top1: float
    top1_interval: Interval


class ClassScore(Frozen):
    """The score of the images of one class."""

    label: int
    name: str | None
    images: Some
    correct1: int
    correct5: int


class Confusion(Frozen):
    """How many images of one class were taken for another."""

    label: int
    predicted: int
    label_name: str | None
    predicted_name: str | None
    images: Some


class Mistake(Frozen):
    """A wrongly classified image that the model was sure of.

    Attributes:
        confidence: the probability of the predicted class.
        thumbnail: with ``--keep-mistakes``, a JPEG of at most 96 pixels a side, in base64.
    """

    name: str
    label: int
    predicted: int
    label_name: str | None
    predicted_name: str | None
    confidence: float
    thumbnail: str | None = None


class CalibrationBin(Frozen):
    """The images whose highest probability is in one range."""

    low: float
    high: float
    images: Some
    correct1: int
    confidence: float


class LabelOrder(Frozen):
    """The top-1 if outputs or labels were in another order than the sorted synsets."""

    order: str
    correct1: int
    top1: float


class Published(Frozen):
    """What a paper prints for this model, or for the nearest one that it prints anything for.

    Attributes:
        model: the name of the built-in that the row describes.
    """

    model: str | None = None
    paper: str
    row: str
    top1: float | None = None
    top5: float | None = None


class Timing(Frozen):
    """Where the time went, for the images of this run (those of a resumed run are left out).

    Attributes:
        seconds: from the first batch asked for to the last result.
        data_s: waiting for a batch.
        model_s: everything else: copies, normalisation, the network, the bookkeeping.
        images: that were measured.
    """

    seconds: float
    data_s: float
    model_s: float
    images: int
    images_per_s: float


class ValidateResult(Frozen):
    """The score of one checkpoint on one set.

    Attributes:
        model: the name of the spec; ``spec`` is all of it.
        shift: the implementation, or None for a model that has no shift.
        form: which of its forms ran, of an implementation that picks one by where it runs.
        mistakes: the wrong images that the model was surest of, the surest first.
        source: where the model came from; None in records of 0.1.0.
        runtime: what computed it, and its version: an exported file runs in a runtime of its own.
        dtype: that the model computed in; an exported file's own, such as ``int8``.
        images: that were decoded and scored; ``failures`` are not among them.
        correct1, correct5: how many of them were right; ``top1``, ``top5``: as shares.
        loss: mean cross-entropy in nats; None if a logit was not finite.
        ece: expected calibration error over 15 bins of equal width.
        nonfinite: images with a logit that is NaN or infinite; they count as wrong.
        predictions: the file that ``--predictions`` wrote beside this record, as it was given.
        remarks: what a reader has to know about this result, in sentences.
    """

    model: str
    spec: dict[str, Any]
    ckpt: CheckpointFacts
    data: DataFacts
    preprocessing: Preprocessing
    shift: str | None
    device: str
    dtype: str
    batch_size: int
    workers: int
    processes: int
    compiled: bool
    channels_last: bool
    images: Some
    correct1: int
    correct5: int
    top1: float
    top1_interval: Interval
    top5: float
    top5_interval: Interval
    loss: float | None
    loss_interval: Interval | None
    ece: float
    calibration: tuple[CalibrationBin, ...]
    nonfinite: int
    resumed_images: int
    images_per_s: float
    timing: Timing
    failures: tuple[Failure, ...]
    real: RealScore | None = None
    per_class: tuple[ClassScore, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    label_orders: tuple[LabelOrder, ...] = ()
    published: Published | None = None
    predictions: str | None = None
    remarks: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    source: ModelSource | None = None
    runtime: str = "torch"
    runtime_version: str | None = None
    form: str | None = None


class ValidateRecord(Record):
    """One validated checkpoint."""

    kind: ClassVar[str] = "validate"
    results: tuple[ValidateResult, ...] = Field(min_length=1)
