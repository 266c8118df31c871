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
from s2mlp_cli.runtimes.facts import Facts, reading, refuse_channels_last
from s2mlp_cli.runtimes.packages import require

_PRODUCTS = ("MatMul", "Gemm", "Conv")
_FLOAT_PRODUCTS = (*_PRODUCTS, "FusedMatMul", "FusedGemm", "FusedConv", "MatMulNBits")
_INTEGER_PRODUCTS = (
    "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm",
    "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
)  # fmt: skip

# Numbers of onnx.TensorProto, which is imported late.
_FLOATS = {1: "fp32", 10: "fp16", 16: "bf16"}
# The accuracy_level with which MatMulNBits multiplies in int8.
_INT8_LEVEL = 4


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
        if not model.graph.node:  # to protobuf, an empty file is a message without fields
            raise ValueError("it has no graph")
    outside = {
        entry.value
        for weight in model.graph.initializer
        for entry in weight.external_data
        if entry.key == "location"
    }
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ExportError(
            f"{path} keeps its weights in {', '.join(sorted(outside))}, which is missing or not "
            "whole; put it beside the file"
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
    refuse_channels_last(path, image[1:])
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
    quantised = tuple(_quantised(model))
    return Facts(
        batch_size=image[0],
        image=(image[1], image[2], image[3]),
        classes=logits[1],
        precision="int8" if quantised else _stored_in(model),
        nodes=dict(nodes.most_common()),
        metadata={one.key: one.value for one in model.metadata_props},
        quantised=quantised,
    )


def _quantised(model: Any) -> Iterator[str]:
    """Yield the products of integers: by their operator, or by what both of their inputs are."""
    integers: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            integers.update(node.output)
        products = node.op_type in _PRODUCTS and integers.issuperset(node.input[:2])
        if products or _of_integers(node):
            yield node.name


def _of_integers(node: Any) -> bool:
    """Tell whether an operator itself multiplies integers; one of few bits may do so if told to."""
    levels = {each.name: each.i for each in node.attribute}
    in_bits = node.op_type == "MatMulNBits" and levels.get("accuracy_level") == _INT8_LEVEL
    return in_bits or node.op_type in _INTEGER_PRODUCTS


def _stored_in(model: Any) -> str:
    """Return what most of the weights are stored in."""
    sizes: Counter[str] = Counter()
    for weight in model.graph.initializer:
        if weight.data_type in _FLOATS:
            sizes[_FLOATS[weight.data_type]] += math.prod(weight.dims)
    return sizes.most_common(1)[0][0] if sizes else "fp32"


def computed_in(path: Path) -> str | None:
    """Return in what a graph as onnxruntime runs it multiplies: int8 if integers anywhere.

    A product between casts or dequantised weights is one of floats, whatever the file stores. None:
    there are no products.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    if any(map(_of_integers, graph.node)):
        return "int8"
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types.update((weight.name, weight.data_type) for weight in graph.initializer)
    found: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in _FLOAT_PRODUCTS:
            known = (_FLOATS.get(types.get(name, 0)) for name in (*node.input[:2], *node.output))
            found.update([each for each in known if each][:1])
    return found.most_common(1)[0][0] if found else None


def _sizes(value: Any) -> list[int | None]:
    """Return the sizes of a graph's input or output; None is open."""
    dimensions = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else None for d in dimensions]


def _shape(sizes: list[int | None]) -> str:
    return ",".join("?" if size is None else str(size) for size in sizes) or "a single number"
