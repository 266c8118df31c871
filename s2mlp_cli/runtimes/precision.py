"""The same ONNX file in fewer bits: float16, and int8 by onnxruntime's quantisation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.runtimes.export import INPUT
from s2mlp_cli.runtimes.onnx_file import read_onnx
from s2mlp_cli.runtimes.packages import quietly, require

# What int8 quantises: the matrix products, which are nearly all of the work.
_PRODUCTS = ["MatMul", "Gemm"]


def to_fp16(source: Path, target: Path) -> None:
    """Write ``source`` with weights and arithmetic in float16; images and logits stay float32."""
    require("onnx", "onnxruntime")
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = convert_float_to_float16(read_onnx(source), keep_io_types=True)
    # The converter appends its casts of the images; ONNX asks for nodes in the order of their use.
    OnnxModel.graph_topological_sort(model.graph)
    onnx.save(model, target)


def to_int8(
    source: Path, target: Path, calibration: Iterable[NDArray[np.float32]] | None = None
) -> None:
    """Write ``source`` with its matrix products in int8.

    Args:
        source: a float32 file of :func:`s2mlp_cli.runtimes.export.export_onnx`.
        target: the new file.
        calibration: batches of preprocessed images (B,C,H,W), which fix the ranges of the
            activations (static). None lets every batch find its own at run time (dynamic): an
            image's result then depends on the images beside it.
    """
    require("onnx", "onnxruntime")
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    signed = quantization.QuantType.QInt8
    with quietly(), tempfile.TemporaryDirectory(prefix="s2mlp-int8-") as folder:
        if calibration is None:
            quantization.quantize_dynamic(
                source, target, op_types_to_quantize=_PRODUCTS, weight_type=signed
            )
            return
        feeds = ({INPUT: batch} for batch in calibration)

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, Any] | None:
                return next(feeds, None)

        prepared = Path(folder) / "prepared.onnx"
        # Static quantisation needs the shapes of all values.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_PRODUCTS,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=signed,
            per_channel=True,
        )
