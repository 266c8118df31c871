"""The record of ``s2mlp trace``: what a traced run did, by operator, kernel, module and scope."""

from __future__ import annotations

from typing import ClassVar

from s2mlp_cli.records.base import Frozen, Record


class ScopeTime(Frozen):
    """Time inside the scopes of one name, on the device where there is one, else on the host."""

    name: str
    calls: int
    seconds: float
    share: float | None = None


class OperatorTime(Frozen):
    """Calls of one operator; ``self`` is without the operators that it called."""

    name: str
    calls: int
    host_s: float
    host_self_s: float
    device_s: float | None = None
    device_self_s: float | None = None


class KernelTime(Frozen):
    """Launches of one kernel on a GPU."""

    name: str
    calls: int
    total_s: float
    mean_s: float


class ModuleTime(Frozen):
    """One module of the model; ``depth`` counts the modules around it."""

    name: str
    depth: int
    calls: int
    host_s: float
    host_self_s: float
    device_s: float | None = None


class OperatorMemory(Frozen):
    """What one operator allocated on one device."""

    device: str
    name: str
    calls: int
    allocations: int
    allocated_bytes: float
    self_allocated_bytes: float


class TraceResult(Frozen):
    """One traced run.

    Attributes:
        run: the folder of the run, below the folder of the traces.
        file: the trace file.
        steps: how many runs of the model it holds.
        step_s: mean seconds of one, tracing included: no timing to compare.
        shift_share: part of the model's time inside the scopes of the shifts; None where the
            implementation has no shift of its own (a fused mixer).
        scopes: by name, with block and stage numbers merged.
        recommendations: of the parser, as plain text.
    """

    run: str
    file: str
    steps: int
    step_s: float | None
    shift_share: float | None
    scopes: tuple[ScopeTime, ...] = ()
    operators: tuple[OperatorTime, ...] = ()
    kernels: tuple[KernelTime, ...] = ()
    modules: tuple[ModuleTime, ...] = ()
    memory: tuple[OperatorMemory, ...] = ()
    recommendations: tuple[str, ...] = ()


class TraceRecord(Record):
    """The record that ``s2mlp trace`` writes."""

    kind: ClassVar[str] = "trace"

    results: tuple[TraceResult, ...]
