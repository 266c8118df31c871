"""An implementation in another runtime: the file that ``s2mlp export`` would write."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from s2mlp_cli.errors import ExportError, UnavailableError
from s2mlp_cli.measure.profiling.workloads import Candidate, Case, Workload, build_workload
from s2mlp_cli.measure.source import ExportedModel
from s2mlp_cli.runtimes.export import export_onnx
from s2mlp_cli.runtimes.packages import missing
from s2mlp_cli.runtimes.precision import to_int8
from s2mlp_cli.runtimes.sessions import open_session


class DeployedFiles:
    """The exported files of one case: each written once, for all runtimes, and removed at the end.

    The batch is open in them, as in what ``s2mlp export`` writes by default.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._made: dict[tuple[str | None, str | None], Path | ExportError] = {}

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.cleanup()

    def workload(self, candidate: Candidate, example: Tensor) -> Workload:
        """Open the file of ``candidate`` with as many threads as torch has, to run ``example``.

        Raises:
            ExportError: it cannot be exported, or the runtime refuses the file.
            UnavailableError: the runtime does not run this format, or computes in a precision that
                was not asked for.
        """
        path = self._path(candidate.shift, candidate.precision)
        try:
            session = open_session(path, candidate.runtime, torch.get_num_threads())
        except ExportError as error:
            raise ExportError(str(error).replace(str(path), path.suffix + " file")) from error
        asked = candidate.precision or self._case.dtype
        if session.precision != asked:
            raise UnavailableError(
                f"{session.runtime} computes in {session.precision} instead of {asked}"
            )
        return Workload(lambda: session.run(example), session.run, example, session=session)

    def _path(self, shift: str | None, precision: str | None) -> Path:
        if isinstance(self._case.model, ExportedModel):
            return Path(self._case.model.source.path or "")
        key = (shift, precision)
        if key not in self._made:
            try:
                self._made[key] = self._written(shift, precision)
            except ExportError as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, ExportError):
            raise made
        return made

    def _written(self, shift: str | None, precision: str | None) -> Path:
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="s2mlp-profile-")
        path = Path(self._folder.name) / f"{len(self._made)}.onnx"
        try:
            if precision == "int8":
                to_int8(self._path(shift, None), path)
                return path
            module = build_workload(self._case, shift).module
            assert isinstance(module, nn.Module)
            channels, height, width = self._case.shape[1:]
            export_onnx(module, (channels, height, width), path)
        except OSError as error:
            raise ExportError(
                f"cannot write to {path.parent}: {error.strerror}; free some space, or set TMPDIR"
            ) from error
        return path


def cannot_deploy(case: Case, candidate: Candidate) -> str | None:
    """Return why an exported file is not timed in this case, or None."""
    facts = case.model.facts if isinstance(case.model, ExportedModel) else None
    held = facts.batch_size if facts else None
    reasons = {
        "only whole models are exported: use --level model": case.level != "model",
        "exported files are for inference: leave out --mode training": case.mode != "inference",
        "exported files are timed on the CPU only: use --device cpu": case.device != "cpu",
        f"exported files are timed in fp32 and int8: leave out --dtype {case.dtype}": (
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
    exporters = () if facts else ("onnxscript",)
    quantiser = ("onnxruntime",) if candidate.precision == "int8" and not facts else ()
    needed = dict.fromkeys(("onnx", *exporters, *quantiser, candidate.runtime))
    return found or missing(*(name for name in needed if name != "torch"))
