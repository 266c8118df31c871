"""Reading traces with torch-tb-profiler's own parser, in this process, without TensorBoard."""

from __future__ import annotations

import gzip
import json
import logging
import re
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

from s2mlp_cli.errors import RecordError
from s2mlp_cli.measure.torch_support import first_line
from s2mlp_cli.measure.tracing.writing import METADATA, ROOT_SCOPE
from s2mlp_cli.records.trace import (
    KernelTime,
    ModuleTime,
    OperatorMemory,
    OperatorTime,
    ScopeTime,
    TraceResult,
)

_MICRO = 1e-6
_KIB = 1024
# What newer profilers call the launches of kernels, and the name under which the parser looks for
# them; without, it gives operators no time on the GPU.
_RENAMED = {"cuda_runtime": "runtime", "cuda_driver": "runtime"}

# Microseconds since the epoch of a trace that anybody reads: three thousand years.
_LONGEST = 1e17

# Sentences of the parser's log that are kept.
_MOST = 5

# What the parser raises on numbers and names that make no sense together.
_FAULTS = (
    LookupError, TypeError, AttributeError, ValueError, ArithmeticError, AssertionError,
    RecursionError,
)  # fmt: skip

_ENDING = re.compile(r"\.pt\.trace\.json(\.gz)?$")


def find_traces(folder: Path) -> list[Path]:
    """Return the trace files in ``folder`` and its subfolders, by name.

    Raises:
        RecordError: there are none.
    """
    found = sorted(path for path in folder.rglob("*") if _ENDING.search(path.name))
    if not found:
        raise RecordError(
            f"there is no trace (*.pt.trace.json) in {folder}; "
            f"make one with: s2mlp profile --trace {folder}"
        )
    return found


def read_trace(path: Path, root: Path) -> TraceResult:
    """Parse one trace file; ``root`` is the folder that its run is named from.

    Raises:
        RecordError: the file is cut off, or not a trace of torch.profiler.
    """
    document = _load(path)
    try:
        data, profile, said = _parse(document)
        scopes = {scope.name: scope for scope in _scopes(document["traceEvents"])}
        whole = scopes.get(ROOT_SCOPE)
        shifts = [scope.share for name, scope in scopes.items() if name.endswith(".shift")]
        return TraceResult(
            run=str(path.parent.relative_to(root)),
            case=document.get(METADATA),
            file=path.name,
            steps=whole.calls if whole else 0,
            step_s=whole.seconds / whole.calls if whole and whole.seconds else None,
            shift_share=shifts[0] if shifts else None,
            scopes=tuple(scopes.values()),
            operators=tuple(_operators(data, bool(profile.has_kernel))),
            kernels=tuple(_kernels(data)),
            modules=tuple(_modules(profile)),
            memory=tuple(_memory(profile)),
            recommendations=(*map(_plain, data.recommendations), *said),
        )
    except _FAULTS as error:  # of the parser, which believes all it reads
        raise _not_whole(path, f"{type(error).__name__}: {first_line(error)}") from error


def _load(path: Path) -> Any:
    """Return the JSON document of a trace, compressed or not, once its events are known to be some.

    Raises:
        RecordError: it is none, or an event of it is not one.
    """
    try:
        raw = path.read_bytes()
        document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise _not_whole(path, error) from error
    events = document.get("traceEvents") if isinstance(document, dict) else None
    if not isinstance(events, list) or not events:
        raise _not_whole(path, "it has no traceEvents")
    for number, event in enumerate(events):
        fault = _fault(event)
        if fault:
            raise _not_whole(path, f"event {number}: {fault}")
        event["cat"] = _RENAMED.get(event.get("cat"), event.get("cat"))
    return document


def _fault(event: Any) -> str | None:
    """Return what is wrong with an event, which the parser would stumble over or leave out."""
    if not isinstance(event, dict):
        return "it is not an object"
    wanted = {"ph": str, "cat": str, "name": str, "args": dict}
    for key, kind in wanted.items():
        if not isinstance(event.get(key, kind()), kind):
            return f"its '{key}' is not a {'text' if kind is str else 'table'}"
    for key in ("ts", "dur"):
        value = event.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"its '{key}' is not a number"
        if not (abs(value) < _LONGEST if key == "ts" else 0 <= value < _LONGEST):
            return f"its '{key}' is out of range"
    return None


def _parse(document: Any) -> tuple[Any, Any, list[str]]:
    """Return the parser's run data, what its generator makes of it, and what it logged."""
    from torch_tb_profiler.profiler.data import RunProfileData
    from torch_tb_profiler.profiler.run_generator import RunGenerator

    with warnings.catch_warnings(), _logged() as said:
        warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
        data = RunProfileData.from_json("s2mlp", None, document)
        profile = RunGenerator("s2mlp", None, data).generate_run_profile()
    return data, profile, said


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect what the parser would print on stderr: each sentence once, the first few."""
    said: list[str] = []

    class Collector(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            sentence = entry.getMessage()
            if entry.levelno >= logging.WARNING and sentence not in said and len(said) < _MOST:
                said.append(sentence)

    logger = logging.getLogger("pytorch_profiler")
    collector = Collector()
    logger.addHandler(collector)
    logger.propagate, before = False, logger.propagate
    try:
        yield said
    finally:
        logger.removeHandler(collector)
        logger.propagate = before


def _not_whole(path: Path, reason: object) -> RecordError:
    return RecordError(
        f"{path} is not a whole trace of torch.profiler ({reason}); "
        "make it again with: s2mlp profile --trace"
    )


def _scopes(events: list[dict[str, Any]]) -> Iterator[ScopeTime]:
    """Sum the time of our scopes by name, with the numbers of stages and blocks merged.

    The parser drops annotations, so they are read from the events. A GPU's kernels have
    annotations of their own; where there are any, they are what counts.
    """
    by_category: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        by_category[event.get("cat", "")].append(event)
    seconds: dict[str, list[float]] = defaultdict(list)
    for event in by_category["gpu_user_annotation"] or by_category["user_annotation"]:
        name = re.sub(r"\.\d+", ".*", event["name"])
        if name == ROOT_SCOPE or name.startswith("stages."):
            seconds[name].append(event["dur"] * _MICRO)
    whole = sum(seconds.get(ROOT_SCOPE, ()))
    for name, parts in sorted(seconds.items()):
        total = sum(parts)
        yield ScopeTime(
            name=name, calls=len(parts), seconds=total, share=total / whole if whole else None
        )


def _operators(data: Any, on_device: bool) -> Iterator[OperatorTime]:
    rows = sorted(data.op_list_groupby_name, key=lambda row: -row.self_host_duration)
    for row in rows:
        yield OperatorTime(
            name=row.name,
            calls=row.calls,
            host_s=row.host_duration * _MICRO,
            host_self_s=row.self_host_duration * _MICRO,
            device_s=row.device_duration * _MICRO if on_device else None,
            device_self_s=row.self_device_duration * _MICRO if on_device else None,
        )


def _kernels(data: Any) -> Iterator[KernelTime]:
    if data.kernel_stat is None:
        return
    for name, row in data.kernel_stat.iterrows():
        yield KernelTime(
            name=name,
            calls=int(row["count"]),
            total_s=float(row["sum"]) * _MICRO,
            mean_s=float(row["mean"]) * _MICRO,
        )


def _modules(profile: Any) -> Iterator[ModuleTime]:
    view = profile.get_module_view() if profile.module_stats else None
    yield from _module_rows(view["data"] if view else (), 0, bool(profile.has_kernel))


def _module_rows(
    rows: Iterable[dict[str, Any]], depth: int, on_device: bool
) -> Iterator[ModuleTime]:
    for row in rows:
        yield ModuleTime(
            name=row["name"],
            depth=depth,
            calls=row["occurences"],
            host_s=row["host_duration"] * _MICRO,
            host_self_s=row["self_host_duration"] * _MICRO,
            device_s=row["device_duration"] * _MICRO if on_device else None,
        )
        yield from _module_rows(row["children"], depth + 1, on_device)


def _memory(profile: Any) -> Iterator[OperatorMemory]:
    if not profile.memory_snapshot:
        return
    for device, rows in profile.get_memory_stats(memory_metric="KB")["rows"].items():
        for name, calls, _, _, allocations, _, allocated, self_allocated in rows:
            yield OperatorMemory(
                device=device,
                name=name,
                calls=calls,
                allocations=allocations,
                allocated_bytes=allocated * _KIB,
                self_allocated_bytes=self_allocated * _KIB,
            )


def _plain(text: str) -> str:
    """Return HTML as text: tags gone, entities read."""
    return unescape(re.sub(r"<[^>]+>", "", text))
