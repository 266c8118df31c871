"""Running an exported file: onnxruntime, openvino or torch, with the same threads and no surprises.

A session says what it really runs: the runtime's version, the threads, and the precision that the
runtime reports, since some choose another than the file's (openvino takes bfloat16 on a CPU that
has it, unless it is told otherwise). Without a .pt2 file, nothing here imports torch: a process
that is to show the memory of a runtime imports this module.
"""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2mlp_cli.errors import ExportError, S2MLPError, UnavailableError
from s2mlp_cli.runtimes.facts import Facts, writing
from s2mlp_cli.runtimes.onnx_file import computed_in, onnx_facts, read_onnx
from s2mlp_cli.runtimes.packages import missing

# What a user names -> onnxruntime's execution provider. Those of a GPU were never run by us.
PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}

# openvino's names of precisions; an int8 file's is that of what is not quantised.
_OPENVINO = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
_OPENVINO_SAYS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "u8": "int8", "i8": "int8"}
# openvino's layers that multiply matrices.
_OPENVINO_PRODUCTS = ("FullyConnected", "MatMul", "Convolution")

Images = NDArray[np.float32]
Run = Callable[[Images], Images]


@dataclass(frozen=True)
class Session:
    """An exported file, ready to run.

    Attributes:
        run: images of B,C,H,W to logits of B,classes, in float32; fewer than a fixed batch are
            filled up with copies of the last one.
        runtime: ``torch``, ``openvino``, or one of :data:`PROVIDERS`.
        version: of the runtime.
        threads: it computes with.
        precision: in which it computes its products, read back from the graph that the runtime
            made of the file: onnxruntime on a CPU computes float16 in float32, and openvino the
            products of a dynamically quantised file. Of what runs on a GPU, the file's own.
        facts: of the file.
    """

    run: Run
    runtime: str
    version: str
    threads: int
    precision: str
    facts: Facts


def read_facts(path: Path) -> Facts:
    """Return what a file (.onnx or .pt2) says of itself.

    Raises:
        ExportError: it is damaged, or is not an image classifier.
        UnavailableError: onnx is not installed.
    """
    if path.suffix != ".pt2":
        return onnx_facts(path)
    from s2mlp_cli.runtimes.pt2_file import load_pt2

    return load_pt2(path)[1]


def unavailable(runtime: str) -> str | None:
    """Return why ``runtime`` cannot run a file here, with the command that installs it, or None."""
    if runtime not in PROVIDERS:
        return None if runtime == "torch" else missing("onnx", runtime)
    reason = missing("onnx", "onnxruntime")
    if reason is None:
        import onnxruntime

        offered = onnxruntime.get_available_providers()
        if PROVIDERS[runtime] not in offered:
            reason = f"onnxruntime here has no {PROVIDERS[runtime]}; it has {', '.join(offered)}"
    return reason


def open_session(
    path: Path, runtime: str | None = None, threads: int = 1, auto: bool = False
) -> Session:
    """Open ``path`` (.onnx or .pt2).

    Args:
        path: of the file.
        runtime: None is the usual one of the format: onnxruntime, or torch for .pt2.
        threads: of the CPU; torch's own are set by the caller.
        auto: let openvino choose the precision, as it does by default.

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
    reason = unavailable(runtime)
    if reason:
        raise UnavailableError(reason)
    if pt2:
        run, facts = _torch(path)
        used, precision = threads, facts.precision
    else:
        facts = onnx_facts(path)
        hint = None if auto else facts.precision
        with writing(), tempfile.TemporaryDirectory(prefix="s2mlp-graph-") as folder:
            graph = Path(folder) / "graph.onnx"
            run, used, precision = start(path, runtime, threads, hint, graph)
            if graph.exists():
                precision = computed_in(graph) or facts.precision

    def guarded(images: Images) -> Images:
        count = len(images)
        if facts.batch_size and count < facts.batch_size:
            images = np.concatenate([images, images[-1:].repeat(facts.batch_size - count, 0)])
        with _as_sentences(runtime, path):
            return run(images)[:count]

    package = metadata.version("onnxruntime" if runtime in PROVIDERS else runtime)
    return Session(guarded, runtime, package, used, precision, facts)


def start(
    path: Path, runtime: str, threads: int, precision: str | None, graph: Path | None = None
) -> tuple[Run, int, str]:
    """Load an ONNX file that was checked before, without another look at it.

    Args:
        path: of the file.
        runtime: openvino, or one of :data:`PROVIDERS`.
        threads: of the CPU.
        precision: of the file; None lets openvino choose.
        graph: where onnxruntime writes what it makes of the file for a CPU, weights beside it.

    Returns:
        The call, how many threads it uses, and the precision: openvino's as it computes,
        onnxruntime's as ``graph`` can tell.

    Raises:
        ExportError: the runtime refuses the file.
        UnavailableError: onnxruntime took another provider than it was told.
    """
    with _as_sentences(runtime, path):
        if runtime in PROVIDERS:
            run = _onnxruntime(path, PROVIDERS[runtime], threads, graph)
            return run, threads, precision or "fp32"
        return _openvino(path, threads, precision)


def _onnxruntime(path: Path, provider: str, threads: int, graph: Path | None) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between calls take the processor from whatever is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what fails is raised, too
    if graph and provider == PROVIDERS["onnxruntime"]:
        options.optimized_model_filepath = str(graph)
        entry = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(f"{entry}file_name", "weights")
        options.add_session_config_entry(f"{entry}min_size_in_bytes", "1024")
    session = onnxruntime.InferenceSession(_content(path), options, providers=[provider])
    if session.get_providers()[0] != provider:  # a provider that cannot start is left out quietly
        raise UnavailableError(f"onnxruntime cannot start its {provider} here")
    (images,) = session.get_inputs()
    dtype = np.float16 if images.type == "tensor(float16)" else np.float32

    def run(batch: Images) -> Images:
        (logits,) = session.run(None, {images.name: batch.astype(dtype, copy=False)})
        found: Images = logits.astype(np.float32, copy=False)
        return found

    return run


def _openvino(path: Path, threads: int, precision: str | None) -> tuple[Run, int, str]:
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = _OPENVINO[precision]
        # Otherwise it quantises the activations beside weights that are stored in int8.
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
    core = _core()
    compiled = core.compile_model(core.read_model(_content(path)), "CPU", settings)
    request = compiled.create_infer_request()

    def run(batch: Images) -> Images:
        (logits,) = request.infer({0: batch}, share_inputs=True).values()
        return np.array(logits, np.float32)

    return run, int(compiled.get_property("INFERENCE_NUM_THREADS")), _openvino_computes(compiled)


def _openvino_computes(compiled: Any) -> str:
    """Return in what the layers multiply: int8 if integers anywhere; without products, the hint."""
    # Whether activations are quantised beside weights that are stored in int8.
    at_run_time = compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") > 0
    found: Counter[str] = Counter()
    for layer in compiled.get_runtime_model().get_ops():
        if layer.get_rt_info()["layerType"].astype(str) in _OPENVINO_PRODUCTS:
            types = [port.get_element_type().get_type_name() for port in layer.inputs()[:2]]
            images, weights = (_OPENVINO_SAYS.get(name, name) for name in types)
            found[weights if weights == "int8" and at_run_time else images] += 1
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    said = [name for name, _ in found.most_common()] or [_OPENVINO_SAYS.get(hint, hint)]
    return "int8" if "int8" in said else said[0]


@functools.cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _content(path: Path) -> str | bytes:
    """Return what libraries in C++ open: the path, or the file itself under a name not in UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        content: bytes = read_onnx(path).SerializeToString()
        return content
    return str(path)


def _torch(path: Path) -> tuple[Run, Facts]:
    import torch

    from s2mlp_cli.runtimes.pt2_file import DTYPES, load_pt2

    module, facts = load_pt2(path)
    dtype = DTYPES[facts.precision]

    def run(batch: Images) -> Images:
        with torch.inference_mode():
            logits: Images = module(torch.from_numpy(batch).to(dtype)).float().numpy()
        return logits

    return run, facts


@contextmanager
def _as_sentences(runtime: str, path: Path) -> Iterator[None]:
    """Name the file in whatever a runtime raises: onnxruntime has an exception for each fault."""
    try:
        yield
    except S2MLPError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = [each for each in lines if not each.startswith(("Exception from", "Check '"))]
        why = next((each for each in said if "No conversion rule" in each), (said or lines)[0])
        raise ExportError(f"{runtime} cannot run {path}: {why.lstrip('- ')}") from error
