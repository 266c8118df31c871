"""The record of ``s2mlp profile``: one row per implementation, level, shape and setting."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from s2mlp_cli.records.base import (
    BASELINE,
    Environment,
    Frozen,
    NotNegative,
    Positive,
    Record,
    Some,
)
from s2mlp_cli.records.source import ModelSource

Level = Literal["op", "block", "model"]
Mode = Literal["inference", "training"]
Verdict = Literal["faster", "slower", "undecided"]

# The runtime of what is not exported.
TORCH = "torch"

# The precision of a row whose runtime chose it; ``runtime_precision`` says which.
AUTO = "auto"

# What torch.compile is given at a time, and how hard it tries.
CompileUnit = Literal["block", "model"]
CompileMode = Literal["default", "reduce-overhead", "max-autotune"]


class Measured(Frozen):
    """A median with its 95 % interval; ``ci95`` is None where there were too few samples."""

    value: float
    ci95: tuple[float, float] | None = None


class Ratio(Measured):
    """A speed relative to another's, paired by round: 2 means twice as fast."""

    @property
    def verdict(self) -> Verdict:
        """Faster or slower only when the whole interval says so."""
        if self.ci95 is None or self.ci95[0] <= 1 <= self.ci95[1]:
            return "undecided"
        return "faster" if self.ci95[0] > 1 else "slower"


class Memory(Frozen):
    """Bytes that one row needs by itself; what is not known on a device is None.

    Attributes:
        weights_bytes: parameters and buffers.
        peak_allocated_bytes: CUDA: the allocator's peak, weights included, other rows left out.
        peak_reserved_bytes: CUDA: what the caching allocator took from the driver for it.
        activations_bytes: the peak while running, over what was held before the first run.
        peak_rss_bytes: CPU: peak resident set while running, in a process that runs nothing else
            (interpreter, libraries, weights and input included; building the model left out).
        unknown: why a CPU's memory is not known, if it is not.
    """

    weights_bytes: int | None = None
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    activations_bytes: int | None = None
    peak_rss_bytes: int | None = None
    unknown: str | None = None


class ProfileResult(Frozen):
    """One row: an implementation at one level, on one device, with one shape and setting.

    ``skipped`` gives the reason why nothing was timed; then all measured fields are None.

    Attributes:
        shift: the implementation, or None for a model that has no shift.
        stage: index of the stage at the levels ``op`` and ``block``.
        shape: of the input: B,H,W,C at ``op`` and ``block``, B,3,H,W for a model.
        compiled: whether it ran through torch.compile; ``compile`` says what was compiled at a
            time (block by block, or the whole model) and ``compile_mode`` with which effort.
        compile_s: seconds that compiling took.
        form: which of its forms ran, of an implementation that picks one by where it runs.
        runtime: what ran it: torch, or from an exported file onnxruntime or openvino.
        runtime_version: of such a runtime.
        runtime_precision: in which it computes the products, read from what it made of the file;
            ``dtype`` is the file's.
        reference: why the result need not be right (``none``), else None.
        error: largest difference to the definition, relative to the largest element.
        samples_s: seconds per call, one sample per round, in the order measured.
        calls_per_sample: how many calls a sample is the mean of.
        images_per_s: batch over median; None at ``op``.
        bytes_per_s: one read and one write of the tensor over the median; only at ``op``.
        ratio_to_slice: speed relative to ``slice``, paired by round: over 1 is faster.
        cost_over_none_s: seconds more than with the shifts taken out, paired by round.
        cost_over_products_s: seconds more than the mixers' matrix products alone, paired by round,
            where ``products`` was timed too.
        shift_share: that cost over ``none`` as a part of the whole time.
        copy_fraction: ``bytes_per_s`` over the copy bandwidth measured in this run.
        matmul_fraction: multiply-adds per second over the matrix-product rate of this run.
    """

    model: str
    shift: str | None
    level: Level
    stage: int | None
    device: str
    dtype: str
    batch_size: Some
    input_size: tuple[int, int]
    shape: tuple[int, ...] = ()
    mode: Mode = "inference"
    compiled: bool = False
    cuda_graph: bool = False
    channels_last: bool = False
    threads: int = 1
    runtime: str = TORCH
    runtime_version: str | None = None
    runtime_precision: str | None = None
    compile: CompileUnit | None = None
    compile_mode: CompileMode | None = None
    compile_s: float | None = None
    source: ModelSource | None = None
    form: str | None = None
    reference: str | None = None
    skipped: str | None = None
    error: float | None = None
    samples_s: tuple[Positive, ...] = ()
    calls_per_sample: int | None = None
    median_s: Positive | None = None
    ci95_s: tuple[Positive, Positive] | None = None
    p50_s: Positive | None = None
    p90_s: Positive | None = None
    p99_s: Positive | None = None
    images_per_s: Positive | None = None
    bytes_per_s: Positive | None = None
    ratio_to_slice: Ratio | None = None
    cost_over_none_s: Measured | None = None
    cost_over_products_s: Measured | None = None
    shift_share: Measured | None = None
    copy_fraction: NotNegative | None = None
    matmul_fraction: NotNegative | None = None
    memory: Memory | None = None
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _compiled_as_0_1_0_did(cls, given: Any) -> Any:
        """A row of 0.1.0 says only that it was compiled: the whole model, in the default mode."""
        if isinstance(given, dict) and given.get("compiled") and not given.get("compile"):
            return {**given, "compile": "model", "compile_mode": "default"}
        return given

    @property
    def is_baseline(self) -> bool:
        """Whether it is what the speeds are relative to: ``slice`` in torch."""
        return self.shift == BASELINE and self.runtime == TORCH

    @property
    def key(self) -> tuple[object, ...]:
        """What tells this row from every other one: the same in two records of the same thing."""
        return tuple(getattr(self, name) for name in KEY)


# The fields that identify a row.
KEY = (
    "model", "shift", "level", "stage", "device", "dtype", "batch_size", "input_size", "mode",
    "compiled", "compile", "compile_mode", "cuda_graph", "channels_last", "threads", "runtime",
)  # fmt: skip


class Roofline(Frozen):
    """What the device can do at most, measured in the same run; None where it could not be.

    ``threads`` are the CPU's, as in the rows that it goes with (None: an old record does not say).
    """

    device: str
    dtype: str
    threads: int | None = None
    copy_bytes_per_s: float | None = None
    matmul_flops_per_s: float | None = None


class ProfileSettings(Frozen):
    """How the rows were measured: enough to run the same again.

    Attributes:
        seed: of the order in which each round ran its implementations.
        min_time_s: time per row that is spent even when the ratios are known.
        max_time_s: time per row after which measuring ends.
        host_time: the launches of a CUDA device are part of the time.
        hot: the caches were left as the last call left them.
    """

    seed: int
    min_time_s: float
    max_time_s: float
    host_time: bool = False
    hot: bool = False


class ProfileRequest(Frozen):
    """The request of a profile, finished or not: what ``--resume`` continues.

    Attributes:
        input_sizes: of every model; none are the models' own.
        shifts: implementations beside the baseline and ``none``.
        batch_sizes: images at a time; None means the largest that fits.
        threads: of the CPU.
        runtimes: in which each implementation runs; the companions always run in torch.
        precisions: of the files that the runtimes other than torch run; ``auto`` is openvino's
            own choice for the float32 file.
    """

    models: tuple[str, ...]
    input_sizes: tuple[tuple[int, int], ...] = ()
    shifts: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ("op", "block", "model")
    dtypes: tuple[str, ...] = ("fp32",)
    batch_sizes: tuple[int | None, ...] = (1,)
    mode: Mode = "inference"
    compile: CompileUnit | None = None
    compile_mode: CompileMode = "default"
    cuda_graph: bool = False
    channels_last: bool = False
    device: str = "cpu"
    threads: int = 1
    runtimes: tuple[str, ...] = (TORCH,)
    precisions: tuple[str, ...] = ("fp32",)


class EarlierRun(Frozen):
    """A run that measured the first of a record's rows, before another one resumed it.

    ``rows`` is how many it measured; they follow those of the runs before it. ``environment`` is
    None in records of 0.1.0, which kept that of the last run only.
    """

    created: datetime
    command: tuple[str, ...]
    settings: ProfileSettings
    rows: int
    environment: Environment | None = None


class ProfileRecord(Record):
    """The record that ``s2mlp profile`` writes.

    Attributes:
        settings: of the last run, as ``created``, ``command`` and ``environment`` are.
        request: the options of the run; None in records of 0.1.0.
        specs: the whole spec of every model that has one, by its name.
        sources: where every model and every shift of a user came from, by its name.
        published_top1: what papers print of the models on ImageNet-1K, in percent.
        limits: the roofline of each device and dtype.
        earlier: the runs before the last one, oldest first.
    """

    kind: ClassVar[str] = "profile"

    settings: ProfileSettings
    request: ProfileRequest | None = None
    specs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    sources: dict[str, ModelSource] = Field(default_factory=dict)
    published_top1: dict[str, float] = Field(default_factory=dict)
    limits: tuple[Roofline, ...] = ()
    warnings: tuple[str, ...] = ()
    earlier: tuple[EarlierRun, ...] = ()
    results: tuple[ProfileResult, ...]

    @property
    def environments(self) -> tuple[Environment, ...]:
        """The environment in which each row of ``results`` was measured."""
        before = [
            run.environment or self.environment for run in self.earlier for _ in range(run.rows)
        ]
        return (*before, *[self.environment] * (len(self.results) - len(before)))

    def roofline_of(self, row: ProfileResult) -> Roofline | None:
        """Return the limits that ``row`` is compared with, or None where none were measured."""
        for limit in self.limits:
            same = (limit.device, limit.dtype) == (row.device, row.dtype)
            if same and limit.threads in (row.threads, None):
                return limit
        return None
