"""The same ONNX file in fewer bits: float16, bfloat16, and int8 by onnxruntime's quantisation."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.runtimes.onnx_file import OnnxFacts, onnx_facts, read_onnx
from s2mlp_cli.runtimes.packages import require

Images = NDArray[np.float32]

# What int8 quantises: the matrix products, which are nearly all of the work.
_PRODUCTS = ("MatMul", "Gemm")


def to_fp16(source: Path, target: Path) -> None:
    """Write ``source`` with weights and arithmetic in float16; images and logits stay float32."""
    require("onnx", "onnxruntime")
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(read_onnx(source), keep_io_types=True), target)


def to_int8(source: Path, target: Path, calibration: Iterable[Images] | None = None) -> None:
    """Write ``source`` with its matrix products in int8.

    Args:
        source: a float32 file.
        target: the new file.
        calibration: batches of preprocessed images (B,C,H,W), which fix the ranges of the
            activations (static). None lets every batch find its own at run time (dynamic): an
            image's result then depends on the images beside it.
    """
    require("onnx", "onnxruntime")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    logging.getLogger().setLevel(max(logging.getLogger().level, logging.ERROR))
    if calibration is None:
        quantize_dynamic(
            source, target, op_types_to_quantize=list(_PRODUCTS), weight_type=QuantType.QInt8
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        _prepare(source, prepared)
        quantize_static(
            prepared,
            target,
            _Reader(onnx_facts(source), calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_PRODUCTS),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


def _prepare(source: Path, target: Path) -> None:
    """Infer the shapes that static quantisation needs."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(source, target, skip_symbolic_shape=True)


class _Reader:
    """Feeds calibration images to onnxruntime, one batch at a time."""

    def __init__(self, facts: OnnxFacts, batches: Iterable[Images]) -> None:
        self._input = facts.input
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._input: batch}

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, Any]:
        found = self.get_next()
        if found is None:
            raise StopIteration
        return found
