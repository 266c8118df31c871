"""From a module to a file that other runtimes load: ONNX, or torch's ExportedProgram (.pt2).

Everything here takes modules, whatever they compute. A file is written to the path that is given;
whoever calls decides whether it is kept (:mod:`s2mlp_cli.measure.proving` checks it first).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2mlp_cli.errors import ExportError, first_line
from s2mlp_cli.runtimes.onnx_file import onnx_facts
from s2mlp_cli.runtimes.packages import quietly, require

# The opset of every ONNX file: the first with Gelu as one operator, and openvino reads it.
OPSET = 20

INPUT, OUTPUT, BATCH = "images", "logits", "batch"

# Images of the example that an export traces. Not 1: the exporters specialise on it.
EXAMPLE_BATCH = 2


def export_onnx(
    module: nn.Module,
    image: tuple[int, int, int],
    path: Path,
    batch_size: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``module`` as ONNX (opset 20, float32, weights inside the file).

    Args:
        module: from images of B,C,H,W to logits of B,classes; in evaluation mode.
        image: (channels, height, width).
        path: of the file.
        batch_size: fixed in the file; None leaves it open.
        metadata: kept in the file's ``metadata_props``.

    Raises:
        ExportError: an operator cannot be exported, or the exporter fixed the batch.
        UnavailableError: onnx or onnxscript is not installed.
    """
    require("onnx", "onnxscript")
    example, dynamic = _example(module, image, batch_size)
    with quietly(), torch.no_grad(), _as_sentences(module, example), _without_pairs_of_slices():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: dynamic},) if dynamic else None,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props.update(metadata or {})
        for node in program.model.graph:  # stack traces: paths of this machine
            for key in [key for key in node.metadata_props if key.startswith("pkg.torch")]:
                del node.metadata_props[key]
        program.save(path, external_data=False)
        if onnx_facts(path).batch_size != batch_size:  # an exporter may fix it without an error
            raise ExportError(_fixes_batch(module, example))


def export_pt2(
    module: nn.Module,
    image: tuple[int, int, int],
    path: Path,
    batch_size: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``module`` as torch's ExportedProgram, in the module's own dtype.

    Args and errors: as for :func:`export_onnx`, and no package beside torch is needed.
    """
    example, dynamic = _example(module, image, batch_size)
    with quietly(), torch.no_grad(), _as_sentences(module, example):
        program = torch.export.export(
            module, (example,), dynamic_shapes=({0: dynamic},) if dynamic else None
        )
        placeholder = next(
            node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs
        )
        batch = placeholder.meta["val"].shape[0]
        if (batch if isinstance(batch, int) else None) != batch_size:
            raise ExportError(_fixes_batch(module, example))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which are nobody's business
    # Through memory: torch's writer in C++ ends the process where a disk takes no more bytes.
    content = io.BytesIO()
    torch.export.save(program, content, extra_files=dict(metadata or {}))
    path.write_bytes(content.getbuffer())


@contextlib.contextmanager
def _without_pairs_of_slices() -> Iterator[None]:
    """Leave out a rule of onnxscript that looks at every pair of slices, for halves of one tensor.

    It changes none of our models, and takes 80 % of the time in which v2-small by slices is
    exported.
    """
    from onnxscript import rewriter

    rules = rewriter._DEFAULT_REWRITE_RULES
    rewriter._DEFAULT_REWRITE_RULES = tuple(rule for rule in rules if rule.name != "SlicesSplit")
    try:
        yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = rules


def _example(
    module: nn.Module, image: tuple[int, int, int], batch_size: int | None
) -> tuple[Tensor, Any]:
    weight = next(module.parameters(), None)
    dtype = torch.float32 if weight is None else weight.dtype
    generator = torch.Generator().manual_seed(0)
    example = torch.randn((batch_size or EXAMPLE_BATCH, *image), generator=generator).to(dtype)
    return example, None if batch_size else torch.export.Dim(BATCH, min=1)


def _fixes_batch(module: nn.Module, example: Tensor) -> str:
    """Say which operator is likely to fix the batch: one that is not torch's own."""
    program = torch.export.export(module, (example,))
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    foreign = sorted({name for name in targets if not name.startswith(("aten.", "prims.", "<"))})
    culprit = f"the operator {foreign[0]}" if foreign else "an operator of this implementation"
    return (
        f"{culprit} fixes the number of images in the file; fix it yourself with --batch-size N, "
        "or choose --shift concat or fused"
    )


@contextlib.contextmanager
def _as_sentences(module: nn.Module, example: Tensor) -> Iterator[None]:
    """Turn an exporter's error into a sentence that names the operator where one is known."""
    try:
        yield
    except (
        torch.onnx.errors.OnnxExporterError,
        torch._dynamo.exc.TorchDynamoException,
        *(RuntimeError, NotImplementedError, ValueError, AssertionError),
    ) as error:
        chain: list[BaseException] = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
            chain.append(cause)
        text = " ".join(map(str, chain))
        if "Constraints violated" in text:
            raise ExportError(_fixes_batch(module, example)) from error
        operators = re.findall(r"(?:aten|prims|torchvision|torch\.ops\.\w+)(?:::|\.)\w+", text)
        if operators:
            raise ExportError(
                f"the operator {operators[0]} cannot be exported; choose another --shift (concat "
                "and fused export everywhere)"
            ) from error
        raise ExportError(
            f"the exporter refused it: {first_line(chain[-1])}; choose another --shift, or the "
            "other format"
        ) from error
