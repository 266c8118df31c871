"""Running an exported file: onnxruntime, openvino or torch, with the same threads and no surprises.

A session says what it really runs: the runtime's version, the threads, and the precision that the
runtime reports, since some choose another than the file's (openvino takes bfloat16 on a CPU that
has it, unless it is told otherwise).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s2mlp_cli.errors import ExportError, UnavailableError
from s2mlp_cli.runtimes.onnx_file import OnnxFacts, onnx_facts
from s2mlp_cli.runtimes.packages import missing, require, version
from s2mlp_cli.runtimes.pt2_file import Pt2Facts, load_pt2

RUNTIMES = ("torch", "onnxruntime", "openvino")

Facts = OnnxFacts | Pt2Facts


@dataclass(frozen=True)
class Session:
    """An exported file, ready to run.

    Attributes:
        run: images of B,C,H,W in float32 to logits of B,classes in float32, on the CPU.
        runtime: ``torch``, ``onnxruntime`` or ``openvino``.
        version: of the runtime.
        threads: it computes with.
        precision: in which it computes, read back from the runtime: the file's own, unless the
            runtime chooses.
        provider: onnxruntime's execution provider or openvino's device.
        facts: of the file.
    """

    run: Callable[[Tensor], Tensor]
    runtime: str
    version: str
    threads: int
    precision: str
    provider: str
    facts: Facts


def read_facts(path: Path) -> Facts:
    """Return what a file (.onnx or .pt2) says of itself.

    Raises:
        ExportError: it is damaged, or is not an image classifier.
        UnavailableError: onnx is not installed.
    """
    return load_pt2(path)[1] if path.suffix == ".pt2" else onnx_facts(path)


def unavailable(runtime: str) -> str | None:
    """Return why ``runtime`` cannot run a file here, with the command that installs it, or None."""
    return None if runtime == "torch" else missing("onnx", runtime)


def open_session(
    path: Path,
    runtime: str | None = None,
    threads: int = 1,
    provider: str | None = None,
    own_precision: bool = False,
) -> Session:
    """Open ``path`` (.onnx or .pt2).

    Args:
        path: of the file.
        runtime: None is the usual one of the format: onnxruntime, or torch for .pt2.
        threads: of the CPU; torch's own are set by the caller.
        provider: an execution provider of onnxruntime; None is the CPU's.
        own_precision: let openvino choose the precision, as it does by default.

    Raises:
        ExportError: the file is not an image classifier, is damaged, or the runtime refuses it.
        UnavailableError: the runtime is not installed, or cannot run this format.
    """
    pt2 = path.suffix == ".pt2"
    runtime = runtime or ("torch" if pt2 else "onnxruntime")
    if pt2 != (runtime == "torch"):
        raise UnavailableError(
            f"{runtime} does not run {path.suffix} files; "
            + ("export to .onnx for it" if pt2 else "torch runs .pt2 files")
        )
    if runtime == "torch":
        return _torch(path, threads)
    require("onnx", runtime)
    facts = onnx_facts(path)
    if runtime == "onnxruntime":
        return _onnxruntime(path, facts, threads, provider or "CPUExecutionProvider")
    return _openvino(path, facts, threads, own_precision)


def _torch(path: Path, threads: int) -> Session:
    module, facts = load_pt2(path)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[facts.precision]

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = module(images.to(dtype))
        return logits.float()

    return Session(run, "torch", torch.__version__, threads, facts.precision, "cpu", facts)


def _onnxruntime(path: Path, facts: OnnxFacts, threads: int, provider: str) -> Session:
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        offered = ", ".join(onnxruntime.get_available_providers())
        raise UnavailableError(f"onnxruntime here has no {provider}; it has {offered}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between calls take the processor from whatever is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        raise ExportError(_refusal("onnxruntime", path, error)) from error

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {facts.input: images.numpy()})[0]).float()

    found = session.get_providers()[0]
    return Session(
        run, "onnxruntime", version("onnxruntime"), threads, facts.precision, found, facts
    )


def _openvino(path: Path, facts: OnnxFacts, threads: int, own_precision: bool) -> Session:
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if not own_precision:
        hint = {"fp16": "f16", "bf16": "bf16"}.get(facts.precision, "f32")
        settings["INFERENCE_PRECISION_HINT"] = hint
    try:
        compiled = _core().compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise ExportError(_refusal("openvino", path, error)) from error
    request = compiled.create_infer_request()

    def run(images: Tensor) -> Tensor:
        found = request.infer({0: images.numpy()}, share_inputs=True)
        return torch.from_numpy(next(iter(found.values())).copy()).float()

    said = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    precision = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}.get(said, said)
    precision = facts.precision if facts.precision == "int8" and precision == "fp32" else precision
    used = int(compiled.get_property("INFERENCE_NUM_THREADS"))
    return Session(
        run, "openvino", openvino.__version__.split("-")[0], used, precision, "CPU", facts
    )


@functools.cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _refusal(runtime: str, path: Path, error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '"))] or lines
    why = next((line.lstrip("- ") for line in said if "No conversion rule" in line), said[0])
    return f"{runtime} cannot run {path}: {why}"
