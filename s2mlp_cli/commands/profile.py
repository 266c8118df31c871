"""``s2mlp profile``: speed and memory of every implementation of the shift."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from click.core import ParameterSource
from rich.progress import BarColumn, Progress, TextColumn

from s2mlp_cli.commands import options
from s2mlp_cli.commands.options import as_field, option
from s2mlp_cli.commands.output import command_line, emit, save
from s2mlp_cli.errors import RecordError, UnavailableError, WriteError
from s2mlp_cli.records.base import DTYPES
from s2mlp_cli.records.profile import AUTO, TORCH, CompileMode, CompileUnit, Level, Mode
from s2mlp_cli.records.profile_rows import implementation
from s2mlp_cli.shifts import registry
from s2mlp_cli.user_code import names_code
from s2mlp_cli.views.terminal import remarks_console

if TYPE_CHECKING:
    from rich.console import Console

    from s2mlp_cli.measure.profiling.profiler import OnProgress, Profiler
    from s2mlp_cli.measure.source import GivenModel
    from s2mlp_cli.records.profile import ProfileRecord, ProfileRequest, ProfileSettings

LEVELS = get_args(Level)
RUNTIMES = (TORCH, "onnxruntime", "openvino", "onnxruntime-cuda", "onnxruntime-tensorrt")


@dataclass(frozen=True)
class Given:
    """The command line."""

    shifts: str = as_field(options.shifts(default="all"), heading="What is measured")
    models: tuple[str, ...] = as_field(options.models(default="v2-small"))
    ckpt: str | None = option(
        metavar="FILE",
        shell_complete=options.complete_files,
        help="Trained weights; --model then names the architecture, if the file does not.",
    )
    overrides: tuple[str, ...] = as_field(options.overrides)
    levels: tuple[Level, ...] = option(
        "--level",
        type=options.Words(LEVELS),
        default=",".join(LEVELS),
        show_default=True,
        help="The shift alone on each stage's map, one block of each stage, the whole model; the "
        "whole model alone with other runtimes than torch.",
    )
    input_sizes: tuple[tuple[int, int], ...] = as_field(options.input_sizes)
    batch_sizes: tuple[int | None, ...] | None = option(
        "--batch-size",
        type=options.batch_sizes,
        metavar="N[,N…]|max",
        help="Images at a time; max: the largest that fits. Default: 1 on a CPU, 64 on a GPU.",
    )
    mode: Mode = option(
        type=click.Choice(get_args(Mode)),
        default="inference",
        show_default=True,
        help="training: forward, backward and, for a model, a step of AdamW.",
    )
    runtimes: tuple[str, ...] = option(
        "--runtime",
        heading="Where and how it runs",
        type=options.Words(RUNTIMES),
        default=TORCH,
        show_default=True,
        metavar="NAME[,NAME…]",
        help="What runs each implementation: torch, or from an exported file (whole models, "
        "inference) onnxruntime and openvino on the CPU, onnxruntime-cuda and "
        "onnxruntime-tensorrt on a GPU (never tested).",
    )
    precisions: tuple[str, ...] = option(
        "--precision",
        type=options.Words(("fp32", AUTO, "int8")),
        default="fp32",
        show_default=True,
        help="Precision of exported files. int8: dynamic, of the matrix products. auto: what "
        "openvino chooses, such as bf16 on a CPU that has it. Errors and the chosen precision are "
        "shown.",
    )
    device: str | None = as_field(options.device)
    dtypes: tuple[str, ...] = option(
        "--dtype",
        type=options.Words(DTYPES),
        default="fp32",
        show_default=True,
        help="Precisions, separated by commas.",
    )
    threads: int | None = option(
        type=click.IntRange(1, 1024),
        help="CPU threads. Default: all cores that this process may use.",
    )
    compile: CompileUnit | None = option(
        is_flag=False,
        flag_value="block",
        type=click.Choice(get_args(CompileUnit)),
        help="Use torch.compile: block by block (the default; a model without blocks at once), "
        "or the whole model at once.",
    )
    compile_mode: CompileMode = option(
        type=click.Choice(get_args(CompileMode)),
        default="default",
        show_default=True,
        help="Mode of torch.compile.",
    )
    cuda_graph: bool = option(help="Replay each call as one CUDA graph.")
    channels_last: bool = option(help="Images in NHWC memory (whole model).")
    min_time_s: float = option(
        "--min-time",
        heading="How it is measured",
        type=options.Finite(0),
        default=0.5,
        show_default=True,
        metavar="SECONDS",
        help="Minimum time per row, even if every ratio is already known to within 1 %.",
    )
    max_time_s: float = option(
        "--max-time",
        type=options.Finite(0, min_open=True),
        default=3.0,
        show_default=True,
        metavar="SECONDS",
        help="Maximum time per row.",
    )
    host_time: bool = option(help="Include the launches of GPU kernels.")
    hot: bool = option(help="Warm cache: do not flush a GPU's before a shift.")
    seed: int = as_field(options.seed("Seed for the order of implementations in each round."))
    resume: Path | None = option(
        heading="Report",
        type=options.OutputFile(),
        metavar="FILE",
        help="Continue this record with the options it was made with, or begin it. Options may add "
        "to its lists.",
    )
    trace: Path | None = option(
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Afterwards, trace one run of each whole model with torch.profiler.",
    )
    output_format: str = as_field(options.output_format)
    output: Path | None = as_field(options.output_file)

    @cached_property
    def named(self) -> dict[str, str]:
        """The options that were not left out, field -> flag."""
        ctx = click.get_current_context()
        left_out = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
        return {
            each.name: max(each.opts, key=len)
            for each in ctx.command.params
            if each.name and ctx.get_parameter_source(each.name) not in left_out
        }

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            click.UsageError: options that contradict each other.
        """
        target = self.output or self.resume
        if target is not None and target.suffix != ".json":
            raise click.UsageError("profile saves each case as JSON: let the file end with .json")
        if self.cuda_graph and self.compile_mode == "reduce-overhead":
            raise click.UsageError(
                "--compile-mode reduce-overhead makes its own CUDA graphs; leave out --cuda-graph"
            )
        if self.resume is not None:
            return  # the record may have what an option needs
        if self.precisions != ("fp32",) and self.runtimes == (TORCH,):
            raise click.UsageError(
                "--precision is that of exported files: add --runtime onnxruntime, or use --dtype"
            )
        if AUTO in self.precisions and "openvino" not in self.runtimes:
            raise click.UsageError("--precision auto is openvino's choice: add --runtime openvino")
        if self.compile is None and self.compile_mode != "default":
            raise click.UsageError("--compile-mode needs --compile")


@options.command(
    Given,
    short_help="Speed and memory of every implementation of the shift.",
    epilog="""
    \b
    Examples:
      s2mlp profile --shift conv
      s2mlp profile --shift all --model v1-wide --level op,model -o shifts.json
      s2mlp profile --device cuda --dtype bf16,fp32 --batch-size 1,64,max
      s2mlp profile --shift conv,fused --runtime torch,onnxruntime,openvino
      s2mlp profile --shift roll,mine.py:my_shift --set step=1
      s2mlp profile --ckpt best.onnx --runtime onnxruntime,openvino
      s2mlp profile --resume shifts.json
      s2mlp profile --shift conv --trace traces && s2mlp trace traces
    """,
)
def command(given: Given) -> None:
    """Time every implementation of the shift against `slice`, and against no shift at all.

    Each implementation is first checked against the reference implementation, on this device,
    dtype and shape; a wrong one is skipped. All are then measured in interleaved rounds, so that
    drift affects them alike. With -o, finished cases are saved as they come, beside the file,
    which is replaced when all is measured; --resume continues what was interrupted.
    """
    given.check()
    if given.trace is not None:
        _require_writable(given.trace)
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its log, on stderr, is not for users
    target = given.output or given.resume
    profiler, source = _profiler(given)
    progress = partial_file(target) if target else None
    if progress and progress.exists() and source is None:
        _remark(f"{progress} of an interrupted run will be replaced; --resume would continue it")
    try:
        with progress_bar() as tell:
            record = profiler.run(
                on_case=lambda part: _keep(part, given, progress), on_progress=tell
            )
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or told to end: see cli.stopped_once
        _stopped(profiler, given, target, source)
        raise
    is_new = profiler.has_news or target != source
    emit(record, given.output_format, target if is_new else None)
    if progress:
        progress.unlink(missing_ok=True)
    if given.trace is not None:
        _trace(profiler, given.trace)
    if not record.results:
        raise UnavailableError(
            "nothing was timed: a model without shifts has no levels op and block; use --level "
            "model"
        )
    if not any(row.median_s for row in record.results):
        reasons = dict.fromkeys(f"{implementation(row)}: {row.skipped}" for row in record.results)
        raise UnavailableError(f"nothing was timed ({'; '.join(reasons)})")


def partial_file(path: Path) -> Path:
    """Return where the finished cases of a run are kept until all are measured."""
    return path.with_suffix(".partial.json")


def _profiler(given: Given) -> tuple[Profiler, Path | None]:
    """Make the profiler that the options ask for, and name the file that it goes on with."""
    from s2mlp_cli.measure.environment import environment
    from s2mlp_cli.measure.profiling.cases import has_shifts
    from s2mlp_cli.measure.profiling.device import open_device
    from s2mlp_cli.measure.profiling.profiler import Profiler
    from s2mlp_cli.measure.profiling.resuming import (
        asked_of,
        continued,
        require_arguments,
        settled,
    )
    from s2mlp_cli.measure.settings import share_out
    from s2mlp_cli.measure.source import open_model

    previous, source = _previous(given.resume) if given.resume else (None, None)
    names = _known(given.shifts)
    # None: what the checkpoint itself says
    of_models = (None,) if given.ckpt and "models" not in given.named else given.models
    if previous and not given.named.keys() & {"models", "ckpt"}:
        of_models = ()
        if not any(map(names_code, names)):
            require_arguments(previous, given.overrides)
    called = [name or str(given.ckpt) for name in of_models]
    shared = share_out(given.overrides, called, [name for name in names if names_code(name)])
    models = tuple(
        open_model(name, given.ckpt, overrides=shared[known])
        for name, known in zip(of_models, called, strict=True)
    )
    settings = _settings(given)
    if previous:
        settings = settled(previous, vars(given), given.named)
    before = previous and asked_of(previous)
    wanted = before.device if before and "device" not in given.named else given.device
    place = open_device(wanted, host_time=settings.host_time)
    shifts = _open_shifts(names, shared, previous, str(place.torch_device))
    here = environment()
    request = _request(given, models, shifts, str(place.torch_device), here.cpu_count)
    if previous is not None:
        named = {
            field: flag
            for field, flag in given.named.items()
            if field in type(request).model_fields
        }
        named |= {"models": "--model"} if models else {}
        request, models = continued(previous, request, named, models)
    if "shifts" in given.named:
        for model in models:
            if not has_shifts(model):
                _remark(
                    f"--shift does nothing to {model.name}: it has no mixer of this program "
                    "(S2Attention, or one of a built-in S2-MLP)"
                )
    return Profiler(
        models, request, settings, place, here, command=command_line(), previous=previous
    ), source


def _open_shifts(
    names: tuple[str, ...],
    shared: Mapping[str, tuple[str, ...]],
    previous: ProfileRecord | None,
    device: str,
) -> tuple[str, ...]:
    """Probe the shifts of Python files, those of the record to resume too; return all names."""
    from s2mlp_cli.measure.profiling.resuming import asked_of
    from s2mlp_cli.measure.settings import code_arguments
    from s2mlp_cli.shifts.contender import open_shift, reopen_shift

    if previous:
        kept = [previous.sources.get(name) for name in asked_of(previous).shifts]
        for source in filter(None, kept):
            reopen_shift(source, device=device)
    return tuple(
        open_shift(name, code_arguments(shared[name], name), device).name
        if names_code(name)
        else name
        for name in names
    )


def _request(
    given: Given,
    models: tuple[GivenModel, ...],
    shifts: tuple[str, ...],
    device: str,
    cores: int,
) -> ProfileRequest:
    from s2mlp_cli.measure.profiling.profiler import DEFAULT_BATCH
    from s2mlp_cli.records.profile import ProfileRequest

    exported = given.runtimes != (TORCH,)
    return ProfileRequest(
        models=tuple(model.name for model in models),
        input_sizes=tuple(dict.fromkeys(given.input_sizes)),
        shifts=shifts,
        # all, or the only one at which a runtime other than torch takes part
        levels=given.levels if "levels" in given.named or not exported else ("model",),
        dtypes=given.dtypes,
        batch_sizes=given.batch_sizes or (DEFAULT_BATCH[device.partition(":")[0]],),
        mode=given.mode,
        compile=given.compile,
        compile_mode=given.compile_mode,
        cuda_graph=given.cuda_graph,
        channels_last=given.channels_last,
        device=device,
        threads=given.threads or cores,
        runtimes=given.runtimes,
        precisions=given.precisions,
    )


def _settings(given: Given) -> ProfileSettings:
    from s2mlp_cli.records.profile import ProfileSettings

    return ProfileSettings(**{name: getattr(given, name) for name in ProfileSettings.model_fields})


def _known(shifts: str) -> tuple[str, ...]:
    """Read ``--shift``; an unknown name is answered with what cannot run here, and why."""
    from s2mlp_cli.measure.environment import available_shifts

    try:
        return registry.parse(shifts)
    except UnavailableError as error:
        names: dict[str, list[str]] = {}
        for name, devices in available_shifts().items():
            if all(devices.values()):
                names.setdefault("; ".join(filter(None, devices.values())), []).append(name)
        reasons = [f"; not available here: {', '.join(of)} ({why})" for why, of in names.items()]
        raise UnavailableError("".join([str(error), *reasons])) from error


def _previous(path: Path) -> tuple[ProfileRecord | None, Path | None]:
    """Read the record to continue, and where it was: the finished cases of a run, or the whole.

    A run that is stopped early leaves no file: the command that resumes it begins it as well.

    Raises:
        RecordError: the file is not the record of a profile.
    """
    from s2mlp_cli.records.profile import ProfileRecord
    from s2mlp_cli.records.reading import read_record

    found = next((file for file in (partial_file(path), path) if file.exists()), None)
    if found is None:
        _remark(f"{path} does not exist yet: it begins now", style="quiet")
        return None, None
    record = read_record(found)
    if not isinstance(record, ProfileRecord):
        raise RecordError(
            f"{found} is a record of {record.kind}, which profile cannot resume; "
            "give the file that an earlier `s2mlp profile -o` wrote"
        )
    return record, found


def _keep(record: ProfileRecord, given: Given, progress: Path | None) -> None:
    """Save finished cases; if the disk does not take them, print them before that is said.

    Raises:
        WriteError: they could not be saved.
    """
    if progress is None:
        return
    try:
        save(record, progress)
    except WriteError:
        emit(record, given.output_format, None)
        raise


def _stopped(profiler: Profiler, given: Given, target: Path | None, source: Path | None) -> None:
    """Keep what was measured before Ctrl-C, and say what is lost and how to go on."""
    record = profiler.record
    kept = f"{len(record.results)} rows"
    lost = f"; {profiler.measuring} was not finished and is lost" if profiler.measuring else ""
    if target is None:
        emit(record, given.output_format, None)
        _remark(f"{kept} were measured{lost}; next time -o FILE.json keeps them for --resume")
        return
    if profiler.has_news:
        _keep(record, given, partial_file(target))
        source = partial_file(target)
    if source is None:
        _remark(f"nothing was measured yet, and {target} was not touched{lost}")
    else:
        continued = shlex.join(["s2mlp", "profile", "--resume", str(target)])
        _remark(f"{kept} are in {source}{lost}; continue with: {continued}")


def _remark(sentence: str, style: str = "warn") -> None:
    remarks_console().print(sentence, style=style, soft_wrap=True)


@contextmanager
def progress_bar(console: Console | None = None) -> Iterator[OnProgress]:
    """Show on stderr what is being measured, if that is a terminal; yields what moves the bar.

    A file gets nothing, even where FORCE_COLOR makes rich take it for a terminal.
    """
    console = console or remarks_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
    with Progress(
        *columns, console=console, transient=True, disable=not console.file.isatty()
    ) as progress:
        task = progress.add_task("starting", total=1.0, left="")

        def tell(what: str, done: float, left: float | None) -> None:
            words = "" if left is None else f"about {left:.0f} s left"
            progress.update(task, description=what, completed=done, left=words)

        yield tell


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
    for trace in profiler.trace(folder):
        if trace.skipped:
            _remark(f"no trace: {trace.run.name}: {trace.skipped}")
        else:
            _remark(f"trace: {trace.run}", style="quiet")
    _remark(f"read them with: s2mlp trace {shlex.quote(str(folder))}", style="quiet")
