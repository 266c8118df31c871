"""Export a model, and keep the file once it is proven to compute what the model does."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from s2mlp_cli._version import __version__
from s2mlp_cli.checkpoints.reading import sha256_of
from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.loader import first_images
from s2mlp_cli.errors import ExportError, GateError
from s2mlp_cli.files import replacing
from s2mlp_cli.measure.proving import Reference
from s2mlp_cli.measure.source import CheckpointModel, GivenModel
from s2mlp_cli.models import default_preprocessing
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.export import ExportResult, Format, Precision, Proof
from s2mlp_cli.runtimes.export import EXAMPLE_BATCH, OPSET, export_onnx, export_pt2
from s2mlp_cli.runtimes.facts import writing
from s2mlp_cli.runtimes.onnx_file import check_onnx
from s2mlp_cli.runtimes.packages import versions
from s2mlp_cli.runtimes.precision import to_fp16, to_int8
from s2mlp_cli.runtimes.sessions import Images, Session, open_session
from s2mlp_cli.shifts import registry

# The implementation where none is named: no other is faster in onnxruntime or openvino
# (reports/profile-cpu/deployed.json), nor compiled, as a .pt2 usually is before it runs
# (reports/benchmarks/free_shift.json).
DEFAULT_SHIFT = "fused"

# Images at a time while the ranges of activations are found.
CALIBRATION_BATCH = 16


def export(
    model: GivenModel,
    path: Path,
    *,
    shift: str | None = None,
    precision: Precision = "fp32",
    batch_size: int | None = None,
    calibration: Sequence[Images] | None = None,
    threads: int = 1,
    tell: Callable[[str], None] = lambda step: None,
) -> ExportResult:
    """Write ``model`` to ``path`` once the file is proven to compute the same.

    Args:
        model: what :func:`s2mlp_cli.measure.source.open_model` returned.
        path: of the file; its ending (.onnx, .pt2) is the format.
        shift: the implementation; None is the one that measured best.
        precision: of the file.
        batch_size: fixed in the file; None leaves it open.
        calibration: batches of preprocessed images for a static int8 file; None is dynamic.
        threads: of the CPU, in the proof.
        tell: told each step, in words.

    Raises:
        ExportError: an operator cannot be exported, or the format does not have this precision.
        GateError: the file is off by more than its precision explains, or the proof cannot tell.
        WriteError: the file cannot be written.
        UnavailableError: a package is missing.
    """
    format_ = _format(path, precision, calibration is not None)
    reference = Reference(model)
    used, notes = None, reference.notes
    if reference.has_shifts:
        used = shift or DEFAULT_SHIFT
    elif shift:
        notes += (f"{model.name} has no spatial shift: --shift {shift} changes nothing",)
    # What takes part in writing the file; onnxruntime converts it.
    converted = precision in ("fp16", "int8")
    writers = ("onnx", "onnxscript", *(["onnxruntime"] if converted else []))
    metadata = _metadata(model, reference.module, used, writers if format_ == "onnx" else ())
    with writing(), tempfile.TemporaryDirectory(prefix="s2mlp-export-") as folder:
        draft = Path(folder) / f"model{path.suffix}"
        tell(f"exporting to {format_} in {precision}")
        start = time.perf_counter()
        write = export_onnx if format_ == "onnx" else export_pt2
        full = draft.with_name("float32.onnx") if converted else draft
        module = reference.copy(used).to(torch.bfloat16 if precision == "bf16" else torch.float32)
        write(module, reference.image, full, batch_size, metadata)
        if precision == "fp16":
            to_fp16(full, draft)
        elif precision == "int8":
            to_int8(full, draft, calibration)
        seconds = time.perf_counter() - start
        if format_ == "onnx":
            check_onnx(draft)
        tell("checking the file against eager float32")
        try:
            session = open_session(draft, threads=threads)
        except ExportError as error:
            raise ExportError(str(error).replace(str(draft), str(path))) from error
        facts = session.facts
        proofs, allowed = _proofs(model, reference, session, batch_size)
        result = ExportResult(
            model=model.name,
            source=model.source,
            format=format_,
            precision=precision,
            path=str(path),
            shift=used,
            form=registry.form(used, torch.device("cpu"), torch.float32, recorded=True),
            image=reference.image,
            classes=facts.classes or 0,
            batch_size=facts.batch_size,
            opset=OPSET if format_ == "onnx" else None,
            bytes=draft.stat().st_size,
            sha256=sha256_of(draft),
            weights_sha256=metadata["s2mlp.weights_sha256"],
            nodes=facts.nodes,
            calibration=sum(map(len, calibration)) if calibration else None,
            quantised=facts.quantised,
            seconds=seconds,
            proofs=proofs,
            allowed=allowed,
            notes=notes,
        )
        with replacing(path) as file:
            shutil.copyfile(draft, file)
    return result


def _format(path: Path, precision: Precision, calibrated: bool) -> Format:
    """Return the format of an ending, and refuse what it does not have."""
    formats: dict[str, tuple[Format, tuple[Precision, ...]]] = {
        ".onnx": ("onnx", ("fp32", "fp16", "int8")),
        ".pt2": ("pt2", ("fp32", "bf16")),
    }
    if path.suffix not in formats:
        raise ExportError(f"cannot tell the format from '{path}'; end it with .onnx or .pt2")
    found, precisions = formats[path.suffix]
    if precision not in precisions:
        raise ExportError(
            f"{path.suffix} files have no {precision} here; choose --precision "
            f"{' or '.join(precisions)}"
        )
    if calibrated and precision != "int8":
        raise ExportError(f"--calibrate is for --precision int8, not {precision}")
    return found


def _proofs(
    model: GivenModel, reference: Reference, session: Session, batch_size: int | None
) -> tuple[tuple[Proof, ...], float | None]:
    """Compare on random images at two batch sizes, neither the example's; and on the sample.

    Returns:
        The proofs, and the largest relative error that any of them allowed.
    """
    sample = _sample_images(model)
    images: list[tuple[int, Tensor | None]] = [(1, None), (EXAMPLE_BATCH + 1, None)]
    if batch_size:
        images = [(batch_size, None)]
    if sample is not None:
        images.append((batch_size or len(sample), sample))
    remedy = "; choose another --shift" if reference.has_shifts else ""
    proofs, limits = [], []
    for size, given in images:
        proof, allowed, fault = reference.proof(session, size, given)
        if fault:
            raise GateError(f"the exported file was not kept: {fault}{remedy}")
        proofs.append(proof)
        limits += [] if allowed is None else [allowed]
    return tuple(proofs), max(limits, default=None)


def _sample_images(model: GivenModel) -> Tensor | None:
    """Return the digits if the weights are those of the sample."""
    from s2mlp_cli import sample

    if model.source.sha256 != sha256_of(sample.CHECKPOINT):
        return None
    return first_images(open_images(sample.IMAGES), preprocessing_of(model))


def _metadata(
    model: GivenModel, module: nn.Module, shift: str | None, writers: Sequence[str]
) -> dict[str, str]:
    """Return what travels inside the file, with the versions of the packages that write it."""
    installed = versions()
    found = {
        "s2mlp.version": __version__,
        "s2mlp.torch": torch.__version__,
        "s2mlp.model": model.name,
        "s2mlp.source": model.source.model_dump_json(),
        "s2mlp.shift": shift or "",
        "s2mlp.weights_sha256": _digest(module),
        **{f"s2mlp.{name}": installed[name] for name in writers if name in installed},
    }
    if model.spec is not None:
        found["s2mlp.spec"] = model.spec.model_dump_json()
        found["s2mlp.classes"] = json.dumps(model.spec.classes)
        found["s2mlp.preprocessing"] = preprocessing_of(model).model_dump_json()
    return found


def _digest(module: nn.Module) -> str:
    """Return the sha256 of a state dict: names, dtypes, shapes and bytes in order."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def preprocessing_of(model: GivenModel) -> Preprocessing:
    """Return how images are prepared: by the checkpoint, the model's family, or the papers.

    The size is that of the model's images, which ``--input-size`` may have changed.
    """
    known = Preprocessing()
    if isinstance(model, CheckpointModel):
        known = model.checkpoint.inputs
    elif model.spec is not None:
        known = default_preprocessing(model.spec)
    return known.model_copy(update={"input_size": model.input_size})


def calibration_batches(model: GivenModel, data: Path, images: int) -> list[Images]:
    """Return the first images of a data set, evenly over it, ready for :func:`to_int8`.

    Raises:
        DataError: the data cannot be read.
        ExportError: the model takes other images than RGB.
    """
    if model.in_channels != 3:
        raise ExportError(
            f"--calibrate reads RGB images, and {model.name} takes {model.in_channels} channels; "
            "leave out --calibrate"
        )
    found = first_images(open_images(data), preprocessing_of(model), images)
    return [batch.numpy() for batch in torch.split(found, CALIBRATION_BATCH)]
