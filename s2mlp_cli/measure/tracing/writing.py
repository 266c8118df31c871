"""One further run under torch.profiler, with the parts of the model named. Never a timing.

The trace is where TensorBoard's profiler plugin looks for it (``DIR/<run>/*.pt.trace.json``) and
opens in Perfetto. Names come from forward hooks that exist only while the run is traced, so
that the models stay clean.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.hooks import RemovableHandle

from s2mlp_cli.errors import WriteError, printable
from s2mlp_cli.files import replacing
from s2mlp_cli.measure.profiling.contenders import reason_to_skip
from s2mlp_cli.measure.profiling.workloads import Case, Workload, build_workload
from s2mlp_cli.measure.torch_support import precision
from s2mlp_cli.records.trace import TracedCase

# Traced runs of each model, after one that is not.
STEPS = 3

# The scope around one whole run.
ROOT_SCOPE = "model"

# The key of a trace's document that says what was traced.
METADATA = "s2mlp"

# Modules that get a scope: stages, patch layers, blocks, mixers, shifts and channel MLPs.
_NAMED = re.compile(r"stages\.\d+(\.patch|\.blocks\.\d+(\.mixer(\.shift)?|\.mlp)?)?")


@dataclass(frozen=True)
class Trace:
    """One run that was to be traced: its folder, and the reason if nothing was written there."""

    run: Path
    skipped: str | None = None


def try_to_trace(case: Case, shift: str | None, folder: Path, unfit: str | None = None) -> Trace:
    """Trace ``case`` into a folder below ``folder``, unless it is ``unfit`` or cannot run here.

    What is traced needs more memory than what is timed, so that only the trace may run out of it.
    """
    run = folder / run_name(case, shift)
    if unfit:
        return Trace(run, unfit)
    try:
        with case.model.running():
            trace_case(case, shift, run)
    except Exception as error:
        reason = reason_to_skip(error, case)
        if reason is None:
            raise
        return Trace(run, reason)
    return Trace(run)


def trace_case(case: Case, shift: str | None, run: Path) -> None:
    """Run ``case`` under the profiler and write its trace into the folder ``run``."""
    with precision(case.dtype), case.context():
        workload = build_workload(case, shift)
        workload.run()
        activities = [ProfilerActivity.CPU]
        if case.device.startswith("cuda"):
            activities.append(ProfilerActivity.CUDA)
        with (
            scopes(workload),
            _utf8_import_path(),
            profile(
                activities=activities,
                record_shapes=True,
                profile_memory=True,
                with_stack=True,  # the plugin's view of modules is made from it
                on_trace_ready=lambda ready: _write(ready, run),
            ) as profiler,
        ):
            profiler.add_metadata_json(METADATA, _traced(case, shift).model_dump_json())
            for _ in range(STEPS):
                with record_function(ROOT_SCOPE):
                    workload.run()
                profiler.step()


@contextmanager
def _utf8_import_path() -> Iterator[None]:
    """Hide folders whose names are not UTF-8 from the profiler, which reads ``sys.path``."""
    whole = sys.path[:]
    sys.path[:] = [folder for folder in whole if printable(folder) == folder]
    try:
        yield
    finally:
        sys.path[:] = whole


def _traced(case: Case, shift: str | None) -> TracedCase:
    return TracedCase(
        model=case.model.name,
        shift=shift,
        device=case.device,
        dtype=case.dtype,
        batch_size=case.batch_size,
        input_size=case.model.input_size,
        mode=case.mode,
        compile=case.compile,
        compile_mode=case.compile_mode,
        channels_last=case.channels_last,
    )


def _write(profiler: profile, run: Path) -> None:
    """Write a trace into the folder ``run``, as ``tensorboard_trace_handler`` does, but whole.

    The profiler keeps quiet about a disk that is full; only the document itself tells.

    Raises:
        WriteError: it cannot be written.
    """
    path = run / f"s2mlp.{time.time_ns()}.pt.trace.json"
    try:
        run.mkdir(parents=True, exist_ok=True)
        with replacing(path, "choose another --trace") as file:
            _export(profiler, file)
            json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "only a part of the trace arrived on the disk"
        raise WriteError(f"cannot write {path}: {why}; choose another --trace") from error


def _export(profiler: profile, file: Path) -> None:
    """Write the trace from inside its folder.

    The profiler copies the path into its JSON as it is, quotes and backslashes too, and takes none
    that is not UTF-8: it is given the name alone.
    """
    with _inside(file.parent):
        try:
            profiler.export_chrome_trace(file.name)
        finally:  # the profiler's own half-written file, where it could not finish it
            Path(f"{file.name}.tmp").unlink(missing_ok=True)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Make ``folder`` the current one for a while (contextlib.chdir is of Python 3.11)."""
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextmanager
def scopes(workload: Workload) -> Iterator[None]:
    """Name the model's parts by ``record_function`` scopes while the context is open."""
    module = workload.module
    open_scopes: list[record_function] = []

    def enter(name: str) -> RemovableHandle:
        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            scope = record_function(name)
            scope.__enter__()  # type: ignore[no-untyped-call]
            open_scopes.append(scope)

        return named[name].register_forward_pre_hook(before)

    def leave(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        open_scopes.pop().__exit__(None, None, None)

    named = {} if module is None else scoped_modules(module)
    with ExitStack() as hooks:
        for name, part in named.items():
            hooks.callback(enter(name).remove)
            hooks.callback(part.register_forward_hook(leave).remove)
        yield


def scoped_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that get a scope, by their names in the model."""
    return {name: part for name, part in model.named_modules() if _NAMED.fullmatch(name)}


def run_name(case: Case, shift: str | None) -> str:
    """Return the name of the folder of one run: all that tells it from another one."""
    switches = {
        f"compiled-{case.compile}": case.compile is not None,
        case.compile_mode: case.compile is not None and case.compile_mode != "default",
        "channels-last": case.channels_last,
    }
    parts = (
        case.model.name,
        shift or "model",
        case.device,
        case.dtype,
        f"b{case.batch_size}",
        "x".join(map(str, case.model.input_size)),
        case.mode,
        *(name for name, on in switches.items() if on),
    )
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))
