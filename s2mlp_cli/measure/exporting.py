"""Export a model, and prove that the file computes what the model does before it is kept."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2mlp_cli._version import __version__
from s2mlp_cli.data.detect import open_images
from s2mlp_cli.data.loader import first_images
from s2mlp_cli.errors import ExportError, GateError
from s2mlp_cli.files import replacing
from s2mlp_cli.measure.source import CheckpointModel, ExportedModel, GivenModel, PythonModel
from s2mlp_cli.models.build import has_shifts
from s2mlp_cli.models.preprocessing import default_preprocessing
from s2mlp_cli.preprocessing import Preprocessing
from s2mlp_cli.records.base import BASELINE
from s2mlp_cli.records.export import ExportResult, Format, Precision, Proof
from s2mlp_cli.runtimes.export import EXAMPLE_BATCH, OPSET, export_onnx, export_pt2
from s2mlp_cli.runtimes.onnx_file import OnnxFacts
from s2mlp_cli.runtimes.precision import Images, to_fp16, to_int8
from s2mlp_cli.runtimes.sessions import Session, open_session
from s2mlp_cli.shifts import registry

# The implementation that a format gets where none is named: reports/deploy.md measures them.
DEFAULT_SHIFT = "fused"

PRECISIONS: dict[Format, tuple[Precision, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "pt2": ("fp32", "bf16"),
}

# Relative error up to which a file is kept, at least. Half precision rounds a deep model by more
# than that; it is allowed as much again as eager PyTorch is off in the same dtype, three times.
ALLOWED = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 5e-2}
_ROUNDINGS = 3
# ... but never as much as a model that computes something else would show.
_MOST_ALLOWED = 0.5

# In float32 an error has to be small beside what tells images apart, too: a random model's logits
# are nearly the same for all of them.
_OF_SPREAD = 1e-2
# Logits that vary by less than this part of their size prove nothing.
_LEAST_SPREAD = 1e-5

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}

# Images at a time while the ranges of activations are found.
CALIBRATION_BATCH = 16

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ExportSettings:
    """How to export.

    Attributes:
        path: of the file; its ending (.onnx, .pt2) is the format.
        shift: the implementation; None is the one that measured best.
        batch_size: fixed in the file; None leaves it open.
        calibration: batches of preprocessed images for a static int8 file; None is dynamic.
        threads: of the CPU, in the proof.
    """

    path: Path
    shift: str | None = None
    precision: Precision = "fp32"
    batch_size: int | None = None
    calibration: Sequence[Images] | None = None
    threads: int = 1

    @property
    def format(self) -> Format:
        endings: dict[str, Format] = {".onnx": "onnx", ".pt2": "pt2"}
        if self.path.suffix not in endings:
            raise ExportError(
                f"cannot tell the format from '{self.path}'; end it with .onnx or .pt2"
            )
        return endings[self.path.suffix]


def export(
    model: GivenModel, settings: ExportSettings, tell: Tell = lambda step: None
) -> ExportResult:
    """Write ``model`` to ``settings.path`` once the file is proven to compute the same.

    Args:
        model: what :func:`s2mlp_cli.measure.source.open_model` returned.
        settings: how.
        tell: told each step, in words.

    Raises:
        ExportError: an operator cannot be exported, or the format does not have this precision.
        GateError: the file is off by more than its precision explains, or the proof cannot tell.
        RecordError: the file cannot be written.
        UnavailableError: a package is missing.
    """
    _require_exportable(model, settings)
    reference = model.build()
    notes = [] if _has_weights(model) else _draw_zeros(reference)
    shift = (settings.shift or DEFAULT_SHIFT) if has_shifts(reference) else None
    if has_shifts(reference):
        module = model.build(shift)
        module.load_state_dict(reference.state_dict())
        reference = _with_baseline(model, reference)
    else:
        module = reference
    image = (model.in_channels, *model.input_size)
    metadata = _metadata(model, reference, shift)
    with tempfile.TemporaryDirectory(prefix="s2mlp-export-") as folder:
        draft = Path(folder) / f"model{settings.path.suffix}"
        try:
            seconds = _write(module, image, draft, settings, metadata, tell)
        except OSError as error:
            raise ExportError(
                f"cannot write to {folder}: {error.strerror}; free some space, or set TMPDIR"
            ) from error
        tell("checking the file against eager float32")
        session = open_session(draft, threads=settings.threads)
        proofs = tuple(_proofs(model, reference, session, settings))
        allowed = _allowed(reference, image, settings.precision)
        for proof in proofs:
            _require_same(proof, allowed, settings)
        facts, batches = session.facts, settings.calibration
        result = ExportResult(
            model=model.name,
            source=model.source,
            format=settings.format,
            precision=settings.precision,
            path=str(settings.path),
            shift=shift,
            form=registry.form(shift, torch.device("cpu"), torch.float32, recorded=True),
            image=image,
            classes=facts.classes or 0,
            batch_size=facts.batch_size,
            opset=OPSET if settings.format == "onnx" else None,
            bytes=draft.stat().st_size,
            sha256=hashlib.sha256(draft.read_bytes()).hexdigest(),
            weights_sha256=metadata["s2mlp.weights_sha256"],
            nodes=facts.nodes,
            calibration=None if batches is None else sum(map(len, batches)),
            quantised=facts.quantised if isinstance(facts, OnnxFacts) else (),
            seconds=seconds,
            allowed=allowed,
            proofs=proofs,
            notes=tuple(notes),
        )
        with replacing(settings.path) as file:
            shutil.copyfile(draft, file)
    return result


def _require_exportable(model: GivenModel, settings: ExportSettings) -> None:
    if isinstance(model, ExportedModel):
        raise ExportError(
            f"{model.source.path} is exported already; give the checkpoint or the spec"
        )
    offered = PRECISIONS[settings.format]
    if settings.precision not in offered:
        raise ExportError(
            f"{settings.path.suffix} files have no {settings.precision} here; choose --precision "
            f"{' or '.join(offered)}"
        )
    if settings.calibration is not None and settings.precision != "int8":
        raise ExportError(f"--calibrate is for --precision int8, not {settings.precision}")


def _with_baseline(model: GivenModel, weights: nn.Module) -> nn.Module:
    """Return the model by the papers' own code: it must agree, however the file computes."""
    baseline = model.build(BASELINE)
    baseline.load_state_dict(weights.state_dict())
    return baseline


def _has_weights(model: GivenModel) -> bool:
    trained = isinstance(model, CheckpointModel)
    return trained or (isinstance(model, PythonModel) and model.weights is not None)


def _draw_zeros(module: nn.Module) -> list[str]:
    """Fill the tensors that start as zeros: a zero head maps everything to nothing."""
    generator = torch.Generator().manual_seed(0)
    drawn = []
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not parameter.any():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
                drawn.append(name)
    random = ["the weights are random: the file is for timing and tests"]
    if drawn:
        random.append(f"{len(drawn)} tensors that start as zeros were drawn, such as {drawn[0]}")
    return random


def _write(
    module: nn.Module,
    image: tuple[int, int, int],
    draft: Path,
    settings: ExportSettings,
    metadata: dict[str, str],
    tell: Tell,
) -> float:
    """Write the file and return the seconds that it took."""
    start = time.perf_counter()
    tell(f"exporting to {settings.format}")
    if settings.format == "pt2":
        dtype = _HALF.get(settings.precision)
        export_pt2(
            module.to(dtype) if dtype else module, image, draft, settings.batch_size, metadata
        )
    elif settings.precision == "fp32":
        export_onnx(module, image, draft, settings.batch_size, metadata)
    else:
        full = draft.with_name("float32.onnx")
        export_onnx(module, image, full, settings.batch_size, metadata)
        tell(f"converting to {settings.precision}")
        if settings.precision == "fp16":
            to_fp16(full, draft)
        else:
            to_int8(full, draft, settings.calibration)
    return time.perf_counter() - start


def _metadata(model: GivenModel, module: nn.Module, shift: str | None) -> dict[str, str]:
    """Return what travels inside the file."""
    found = {
        "s2mlp.version": __version__,
        "s2mlp.torch": torch.__version__,
        "s2mlp.model": model.name,
        "s2mlp.source": model.source.model_dump_json(),
        "s2mlp.shift": shift or "",
        "s2mlp.weights_sha256": weights_digest(module),
    }
    if model.spec is not None:
        found["s2mlp.spec"] = model.spec.model_dump_json()
        found["s2mlp.classes"] = json.dumps(model.spec.classes)
        found["s2mlp.preprocessing"] = preprocessing_of(model).model_dump_json()
    return found


def preprocessing_of(model: GivenModel) -> Preprocessing:
    """Return how images are prepared: by the checkpoint, the model's family, or the papers."""
    if isinstance(model, CheckpointModel):
        return model.checkpoint.inputs
    if model.spec is not None:
        return default_preprocessing(model.spec)
    return Preprocessing(input_size=model.input_size)


def calibration_batches(model: GivenModel, data: Path, images: int) -> list[Images]:
    """Return the first images of a data set, evenly over it, ready for :func:`to_int8`.

    Raises:
        DataError: the data cannot be read.
    """
    found = first_images(open_images(data), preprocessing_of(model), images)
    return [batch.numpy() for batch in torch.split(found, CALIBRATION_BATCH)]


def weights_digest(module: nn.Module) -> str:
    """Return the sha256 of a state dict: names, dtypes, shapes and bytes in order."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _proofs(
    model: GivenModel, reference: nn.Module, session: Session, settings: ExportSettings
) -> Iterable[Proof]:
    """Compare on random images at two batch sizes, neither the example's; and on the sample."""
    image = (model.in_channels, *model.input_size)
    trained = _has_weights(model)
    sizes = (settings.batch_size,) if settings.batch_size else (1, EXAMPLE_BATCH + 1)
    for batch in sizes:
        yield _proof(
            reference, session, random_images(batch, image, batch), batch, "random", trained
        )
    sample = _sample_images(model)
    if sample is not None:
        batch = settings.batch_size or len(sample)
        yield _proof(reference, session, sample, batch, "sample", trained)


def _proof(
    reference: nn.Module, session: Session, images: Tensor, batch: int, kind: str, trained: bool
) -> Proof:
    whole = [chunk for chunk in torch.split(images, batch) if len(chunk) == batch]
    with torch.inference_mode():
        expected = torch.cat([reference(chunk) for chunk in whole])
        # One image has no spread: its neighbours in the same draw have.
        several = (
            expected if len(expected) > 1 else reference(random_images(8, images.shape[1:], 8))
        )
    found = torch.cat([session.run(chunk) for chunk in whole])
    if found.shape != expected.shape:
        raise GateError(
            f"the exported file returns {tuple(found.shape)} for {tuple(images.shape)}, not "
            f"{tuple(expected.shape)}; nothing was kept"
        )
    error = float((found - expected).abs().max())
    largest = float(expected.abs().max())
    return Proof.model_validate(
        {
            "runtime": session.runtime,
            "images": kind,
            "batch_size": batch,
            "count": len(expected),
            "largest_error": error,
            "relative_error": error / largest if largest else float("inf"),
            "spread": float(several.std(0).median()),
            "same_top1": int((found.argmax(1) == expected.argmax(1)).sum()) if trained else None,
        }
    )


def random_images(count: int, image: Iterable[int], seed: int) -> Tensor:
    """Return images of B,C,H,W that differ in colour, contrast and coarse structure.

    White noise all looks alike to a network that averages over positions.
    """
    channels, height, width = image
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, channels, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear")
    colour = torch.randn(count, channels, 1, 1, generator=generator)
    contrast = 0.5 + torch.rand(count, 1, 1, 1, generator=generator)
    noise = 0.25 * torch.randn(count, channels, height, width, generator=generator)
    return (smooth + noise) * contrast + colour


def _sample_images(model: GivenModel) -> Tensor | None:
    """Return the digits if the weights are those of the sample."""
    from s2mlp_cli import sample

    if model.source.sha256 != hashlib.sha256(sample.CHECKPOINT.read_bytes()).hexdigest():
        return None
    return first_images(open_images(sample.IMAGES), preprocessing_of(model))


def _allowed(
    reference: nn.Module, image: tuple[int, int, int], precision: Precision
) -> float | None:
    """Return the relative error that the precision explains; None where it is only reported."""
    if precision == "int8":
        return None
    if precision == "fp32":
        return ALLOWED["fp32"]
    images = random_images(EXAMPLE_BATCH, image, 0)
    with torch.inference_mode():
        exact = reference(images)
        rounded = copy.deepcopy(reference).to(_HALF[precision])(images.to(_HALF[precision])).float()
    own = float((rounded - exact).abs().max() / exact.abs().max())
    return min(max(ALLOWED[precision], _ROUNDINGS * own), _MOST_ALLOWED)


def _require_same(proof: Proof, allowed: float | None, settings: ExportSettings) -> None:
    if not proof.spread > _LEAST_SPREAD * proof.largest_error / max(proof.relative_error, 1e-30):
        raise GateError(
            "the model returns nearly the same logits for every image, so that agreement proves "
            "nothing; nothing was kept (are its weights those of a trained model?)"
        )
    if allowed is None:
        return
    of_spread = settings.precision != "fp32" or proof.largest_error <= _OF_SPREAD * proof.spread
    if not (proof.relative_error <= allowed and of_spread):
        raise GateError(
            f"the exported file is off eager float32 by {proof.largest_error:.2g} "
            f"({proof.relative_error:.2g} of the largest logit; {allowed:.0e} is allowed) on "
            f"{proof.count} {proof.images} images; nothing was kept; choose another --shift"
        )
