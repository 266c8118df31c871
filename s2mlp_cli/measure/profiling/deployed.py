"""An implementation in another runtime: the file that ``s2mlp export`` would write."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from s2mlp_cli.errors import ExportError, UnavailableError
from s2mlp_cli.measure.profiling.checks import Check
from s2mlp_cli.measure.profiling.memory import file_memory
from s2mlp_cli.measure.profiling.resident import Resident
from s2mlp_cli.measure.profiling.workloads import Candidate, Case, Workload
from s2mlp_cli.measure.proving import Reference
from s2mlp_cli.measure.source import ExportedModel, GivenModel
from s2mlp_cli.records.base import BASELINE, FLOORS
from s2mlp_cli.records.profile import AUTO
from s2mlp_cli.runtimes.export import export_onnx
from s2mlp_cli.runtimes.facts import coarsest, writing
from s2mlp_cli.runtimes.packages import missing
from s2mlp_cli.runtimes.precision import to_int8
from s2mlp_cli.runtimes.sessions import Session, open_session, unavailable
from s2mlp_cli.shifts.contender import foreign

# What a GPU runs; the other runtimes are for a CPU.
ON_A_GPU = ("onnxruntime-cuda", "onnxruntime-tensorrt")


@dataclass
class DeployedFiles:
    """The exported files of one model: each written once, for all runtimes and batch sizes.

    The batch is open in them, as in what ``s2mlp export`` writes by default.
    """

    model: GivenModel
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _references: dict[str, Reference] = field(default_factory=dict)
    _made: dict[tuple[str | None, str | None], Path | ExportError] = field(default_factory=dict)

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.cleanup()

    def workload(self, candidate: Candidate, example: Tensor) -> Workload:
        """Open the file of ``candidate`` with as many threads as torch has, to run ``example``.

        Raises:
            ExportError: it cannot be exported, or the runtime refuses the file.
            UnavailableError: the runtime does not run this format, or computes in a coarser
                precision than was asked for.
        """
        path, auto = self._path(candidate), candidate.precision == AUTO
        try:
            session = open_session(path, candidate.runtime, torch.get_num_threads(), auto)
        except ExportError as error:
            raise ExportError(str(error).replace(str(path), path.suffix + " file")) from error
        asked = candidate.precision or "fp32"
        if not auto and coarsest(asked, session.precision) != asked:
            raise UnavailableError(
                f"{session.runtime} computes in {session.precision} instead of {asked}"
            )
        images = example.cpu().numpy()
        return Workload(
            lambda: session.run(images),
            lambda batch: torch.from_numpy(session.run(batch.cpu().numpy())),
            example,
            session=session,
        )

    def check(self, candidate: Candidate, session: Session, batch_size: int) -> Check | None:
        """Check a file as ``s2mlp export`` does; None where there is nothing to compare it with."""
        if candidate.shift in FLOORS or isinstance(self.model, ExportedModel):
            return None
        own = foreign(candidate.shift)
        reference = self._reference(own.reference if own else BASELINE)
        proof, _, fault = reference.proof(session, batch_size)
        return Check(proof.relative_error, fault and f"the exported file is wrong: {fault}")

    def memory(self, candidate: Candidate, shape: tuple[int, ...]) -> Resident | str:
        """Return what a process needs that runs the file of ``candidate`` alone, or why not."""
        precision = None if candidate.precision == AUTO else candidate.precision or "fp32"
        threads = torch.get_num_threads()
        return file_memory(self._path(candidate), candidate.runtime, threads, precision, shape)

    def _reference(self, shift: str) -> Reference:
        """Return the model by what defines a shift: the papers' code, or what a user's is like."""
        if shift not in self._references:
            self._references[shift] = Reference(self.model, shift)
        return self._references[shift]

    def _path(self, candidate: Candidate) -> Path:
        if isinstance(self.model, ExportedModel):
            return Path(self.model.source.path or "")
        key = (candidate.shift, "int8" if candidate.precision == "int8" else None)
        if key not in self._made:
            try:
                self._made[key] = self._written(*key)
            except ExportError as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, ExportError):
            raise made
        return made

    def _written(self, shift: str | None, precision: str | None) -> Path:
        with writing():
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="s2mlp-profile-")
            path = Path(self._folder.name) / f"{len(self._made)}.onnx"
            if precision == "int8":
                to_int8(self._path(Candidate(shift)), path)
            else:
                reference = self._reference(BASELINE)
                export_onnx(reference.copy(shift), reference.image, path)
        return path


def cannot_deploy(case: Case, candidate: Candidate) -> str | None:
    """Return why an exported file is not timed in this case, or None."""
    facts = case.model.facts if isinstance(case.model, ExportedModel) else None
    held = facts.batch_size if facts else None
    runtime, on_cpu = candidate.runtime, case.device == "cpu"
    reasons = {
        "only whole models are exported: use --level model": case.level != "model",
        "exported files are for inference: leave out --mode training": case.mode != "inference",
        f"{runtime} runs on the CPU here: use --device cpu": (
            not on_cpu and runtime not in ON_A_GPU
        ),
        f"{runtime} runs on a GPU: use --device cuda": on_cpu and runtime in ON_A_GPU,
        f"the precision of exported files is --precision: leave out --dtype {case.dtype}": (
            case.dtype != "fp32"
        ),
        "torch.compile and channels last are for torch: leave out --compile and --channels-last": (
            case.compile is not None or case.channels_last
        ),
        f"the file takes {held} images at a time: use --batch-size {held}": (
            held not in (None, case.batch_size)
        ),
    }
    found = next((reason for reason, applies in reasons.items() if applies), None)
    quantiser = ["onnxruntime"] if candidate.precision == "int8" else []
    makers = [] if facts else ["onnxscript", *quantiser]
    return found or missing(*makers) or unavailable(runtime)
