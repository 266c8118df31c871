"""``s2mlp profile``: speed and memory of every implementation of the shift."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from s2mlp_cli.commands.options import GroupedCommand, grouped
from s2mlp_cli.commands.output import command_line, emit
from s2mlp_cli.commands.profile_options import GROUPS
from s2mlp_cli.commands.progress import progress_bar
from s2mlp_cli.commands.resuming import previous_record, save_or_show, stopped
from s2mlp_cli.errors import UnavailableError
from s2mlp_cli.shifts import registry
from s2mlp_cli.specs import load_spec, with_input_size
from s2mlp_cli.views.terminal import remarks_console

if TYPE_CHECKING:
    from s2mlp_cli.measure.profiling.profiler import Profiler


@grouped(GROUPS)
@click.command(
    cls=GroupedCommand,
    short_help="Speed and memory of every implementation of the shift.",
    epilog="""
    \b
    Examples:
      s2mlp profile --shift conv
      s2mlp profile --shift all --model v1-wide --level op,model -o shifts.json
      s2mlp profile --device cuda --dtype bf16,fp32 --batch-size 1,64,max
      s2mlp profile --shift conv --trace traces && s2mlp trace traces
    """,
)
def command(output_format: str, output: Path | None, trace: Path | None, **asked: Any) -> None:
    """Time every implementation of the shift against `slice`, and against no shift at all.

    Each implementation is held to the definition first, on this device, dtype and shape; a wrong
    one is skipped. All are then measured in interleaved rounds, so that drift hits them alike;
    -o is written whenever a case is done, with the rows of all its implementations.
    """
    output = output or asked["resume"]
    if output is not None and output.suffix != ".json":
        raise click.UsageError("profile saves each case as JSON: let the file end with .json")
    if asked["cuda_graph"] and asked["mode"] == "training":
        raise click.UsageError("--cuda-graph replays inference only; leave out --mode training")
    if trace is not None:
        _require_writable(trace)
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its log, on stderr, is not for users
    profiler = _profiler(**asked)
    try:
        with progress_bar() as tell:
            record = profiler.run(
                on_case=lambda partial: (
                    save_or_show(partial, output_format, output) if output else None
                ),
                on_progress=tell,
            )
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or told to end: see cli.stopped_once
        stopped(profiler.record, profiler.measuring, output_format, output)
        raise
    emit(record, output_format, output)
    if trace is not None:
        _trace(profiler, trace)


def _profiler(
    *,
    shifts: str,
    models: tuple[str, ...],
    overrides: tuple[str, ...],
    device: str | None,
    dtypes: tuple[str, ...],
    batch_sizes: tuple[int | None, ...] | None,
    input_size: tuple[int, int] | None,
    threads: int | None,
    resume: Path | None,
    min_time: float,
    max_time: float,
    seed: int,
    host_time: bool,
    hot: bool,
    **same_names: Any,
) -> Profiler:
    """Make the profiler that the options ask for."""
    from s2mlp_cli.measure.environment import environment
    from s2mlp_cli.measure.profiling.cases import DEFAULT_BATCH, Request
    from s2mlp_cli.measure.profiling.device import open_device
    from s2mlp_cli.measure.profiling.profiler import Profiler
    from s2mlp_cli.records.profile import ProfileSettings

    names = _known(shifts)
    place = open_device(device, host_time=host_time)
    here = environment()
    specs = tuple(load_spec(model, overrides) for model in models)
    if input_size is not None:
        specs = tuple(with_input_size(spec, input_size) for spec in specs)
    request = Request(
        specs=specs,
        shifts=names,
        dtypes=dtypes,
        batch_sizes=batch_sizes or (DEFAULT_BATCH[place.torch_device.type],),
        threads=threads or here.cpu_count,
        **same_names,
    )
    settings = ProfileSettings(
        seed=seed, min_time_s=min_time, max_time_s=max_time, host_time=host_time, hot=hot
    )
    previous = previous_record(resume) if resume else None
    return Profiler(request, settings, place, here, command=command_line(), previous=previous)


def _known(shifts: str) -> tuple[str, ...]:
    """Read ``--shift``; an unknown name is answered with what cannot run here, and why."""
    from s2mlp_cli.measure.environment import available_shifts

    try:
        return registry.parse(shifts)
    except UnavailableError as error:
        reasons = [
            f"{name} ({'; '.join(filter(None, devices.values()))})"
            for name, devices in available_shifts().items()
            if all(devices.values())
        ]
        unavailable = f"; not available here: {', '.join(reasons)}" if reasons else ""
        raise UnavailableError(f"{error}{unavailable}") from error


def _require_writable(folder: Path) -> None:
    """Refuse a folder for traces that cannot be written, before minutes are spent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"cannot make the folder {folder}: {error.strerror}; choose another --trace"
        ) from error
    if not os.access(folder, os.W_OK):
        raise UnavailableError(f"the folder {folder} cannot be written; choose another --trace")


def _trace(profiler: Profiler, folder: Path) -> None:
    """Write the traces of a further, separate run of each whole model."""
    console = remarks_console()
    for trace in profiler.trace(folder):
        if trace.skipped:
            said = f"no trace: {trace.run.name}: {trace.skipped}"
            console.print(said, style="warn", soft_wrap=True)
        else:
            console.print(f"trace: {trace.run}", style="quiet", soft_wrap=True)
    said = f"read them with: s2mlp trace {shlex.quote(str(folder))}"
    console.print(said, style="quiet", soft_wrap=True)
