"""Reading traces with torch-tb-profiler's own parser, in this process, without TensorBoard."""

from __future__ import annotations

import gzip
import json
import re
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

from s2mlp_cli.errors import RecordError
from s2mlp_cli.measure.tracing.writing import ROOT_SCOPE
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
        RecordError: the file is cut off or no trace of torch.profiler.
    """
    document = _load(path)
    data, profile, scopes = _parse(path, document)
    steps = next((scope.calls for scope in scopes if scope.name == ROOT_SCOPE), 0)
    whole = next((scope.seconds for scope in scopes if scope.name == ROOT_SCOPE), None)
    return TraceResult(
        run=str(path.parent.relative_to(root)),
        file=path.name,
        steps=steps,
        step_s=whole / steps if whole and steps else None,
        shift_share=next((scope.share for scope in scopes if scope.name.endswith(".shift")), None),
        scopes=scopes,
        operators=tuple(_operators(data, bool(profile.has_kernel))),
        kernels=tuple(_kernels(data)),
        modules=tuple(_modules(profile)),
        memory=tuple(_memory(profile)),
        recommendations=tuple(_plain(text) for text in data.recommendations),
    )


def _load(path: Path) -> Any:
    """Return the JSON document of a trace, compressed or not."""
    try:
        raw = path.read_bytes()
        document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        events = document.get("traceEvents") if isinstance(document, dict) else None
        if isinstance(events, list) and events and all(isinstance(e, dict) for e in events):
            for event in events:
                event["cat"] = _RENAMED.get(event.get("cat"), event.get("cat"))
            return document
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _not_whole(path, error) from error
    raise _not_whole(path, "it has no traceEvents")


def _parse(path: Path, document: Any) -> tuple[Any, Any, tuple[ScopeTime, ...]]:
    """Return the parser's run data, what its generator makes of it, and our own scopes."""
    from torch_tb_profiler.profiler.data import RunProfileData
    from torch_tb_profiler.profiler.run_generator import RunGenerator

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls pandas in ways that pandas 3 deprecates
            data = RunProfileData.from_json("s2mlp", None, document)
            profile = RunGenerator("s2mlp", None, data).generate_run_profile()
        return data, profile, tuple(_scopes(document["traceEvents"]))
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise _not_whole(path, error) from error


def _not_whole(path: Path, reason: object) -> RecordError:
    return RecordError(
        f"{path} is no whole trace of torch.profiler ({reason}); "
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
