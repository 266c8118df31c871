"""What an ONNX file says of itself: sizes, precision, operators and metadata.

Every file that is no classifier of images, is cut off or lacks its external data is refused with a
sentence, before a runtime sees it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s2mlp_cli.errors import ExportError, first_line
from s2mlp_cli.runtimes.facts import Facts, reading
from s2mlp_cli.runtimes.packages import require

_PRODUCTS = ("MatMul", "Gemm", "Conv")
_INTEGER_PRODUCTS = ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm")


def read_onnx(path: Path) -> Any:
    """Return the ``ModelProto`` of a file, its external data included.

    Raises:
        ExportError: it is cut off, is not ONNX, or its external data is missing.
        UnavailableError: onnx is not installed.
    """
    require("onnx")
    import onnx
    from google.protobuf.message import DecodeError

    with reading(path, (DecodeError, ValueError)):
        model = onnx.load(path, load_external_data=False)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ExportError(
            f"{path} keeps its weights in another file, which cannot be read "
            f"({first_line(error)}); put that file beside it"
        ) from error
    return model


def check_onnx(path: Path) -> None:
    """Check a file by ``onnx.checker``, with the types and shapes of all values.

    Raises:
        ExportError: the file breaks a rule of ONNX.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the exported file is not valid ONNX ({first_line(error)}); choose another --shift or "
            "--precision"
        ) from error


def onnx_facts(path: Path) -> Facts:
    """Return the facts of an image classifier.

    Raises:
        ExportError: as :func:`read_onnx`, and where it has two inputs, its input is not images or
            its output is not one row of logits per image.
    """
    model = read_onnx(path)
    from onnx import TensorProto

    weights = {weight.name for weight in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise ExportError(
            f"{path} has {len(inputs)} inputs ({names}); an image classifier has one, of B,C,H,W"
        )
    image = _sizes(inputs[0])
    if len(image) != 4:
        raise ExportError(
            f"{path}: its input {inputs[0].name} is of {_shape(image)}; a classifier takes images "
            "of B,C,H,W"
        )
    stored = inputs[0].type.tensor_type.elem_type
    if stored not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        raise ExportError(
            f"{path}: its input {inputs[0].name} is of {TensorProto.DataType.Name(stored)}; a "
            "classifier takes images of FLOAT or FLOAT16"
        )
    outputs = [_sizes(output) for output in model.graph.output]
    if [len(sizes) for sizes in outputs] != [2]:
        found = " and ".join(map(_shape, outputs)) or "nothing"
        raise ExportError(f"{path} returns {found}; a classifier returns logits of B,classes")
    logits = outputs[0]
    if None not in (logits[0], image[0]) and logits[0] != image[0]:
        raise ExportError(f"{path} returns {logits[0]} rows of logits for {image[0]} images")
    nodes = Counter(node.op_type for node in model.graph.node)
    return Facts(
        batch_size=image[0],
        image=(image[1], image[2], image[3]),
        classes=logits[1],
        precision=_precision(model, nodes),
        nodes=dict(nodes.most_common()),
        metadata={one.key: one.value for one in model.metadata_props},
        quantised=tuple(_quantised(model)),
    )


def _quantised(model: Any) -> Iterator[str]:
    """Yield the products of integers: by their operator, or by what both of their inputs are."""
    integers: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            integers.update(node.output)
        products = node.op_type in _PRODUCTS and integers.issuperset(node.input[:2])
        if products or node.op_type in _INTEGER_PRODUCTS:
            yield node.name


def _precision(model: Any, nodes: Counter[str]) -> str:
    """Return what most of the weights are stored in, or int8 where products are of integers."""
    from onnx import TensorProto

    if any(name in nodes for name in (*_INTEGER_PRODUCTS, "DequantizeLinear")):
        return "int8"
    names = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    sizes: Counter[str] = Counter()
    for weight in model.graph.initializer:
        if weight.data_type in names:
            sizes[names[weight.data_type]] += math.prod(weight.dims)
    return sizes.most_common(1)[0][0] if sizes else "fp32"


def _sizes(value: Any) -> list[int | None]:
    """Return the sizes of a graph's input or output; None is open."""
    dimensions = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else None for d in dimensions]


def _shape(sizes: list[int | None]) -> str:
    return ",".join("?" if size is None else str(size) for size in sizes) or "a single number"
