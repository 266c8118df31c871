"""The record of ``s2mlp trace``: what a traced run did, by operator, kernel, module and scope."""

from __future__ import annotations

from typing import ClassVar

from s2mlp_cli.records.base import Count, Frozen, NotNegative, Record


class ScopeTime(Frozen):
    """Time inside the scopes of one name, on the device where there is one, else on the host."""

    name: str
    calls: Count
    seconds: NotNegative
    share: NotNegative | None = None


class OperatorTime(Frozen):
    """Calls of one operator; ``self`` is without the operators that it called."""

    name: str
    calls: Count
    host_s: NotNegative
    host_self_s: NotNegative
    device_s: NotNegative | None = None
    device_self_s: NotNegative | None = None


class KernelTime(Frozen):
    """Launches of one kernel on a GPU."""

    name: str
    calls: Count
    total_s: NotNegative
    mean_s: NotNegative


class ModuleTime(Frozen):
    """One module of the model; ``depth`` counts the modules around it."""

    name: str
    depth: Count
    calls: Count
    host_s: NotNegative
    host_self_s: NotNegative
    device_s: NotNegative | None = None


class OperatorMemory(Frozen):
    """What one operator allocated on one device."""

    device: str
    name: str
    calls: Count
    allocations: Count
    allocated_bytes: NotNegative
    self_allocated_bytes: NotNegative


class TracedCase(Frozen):
    """What was traced, as the trace itself says it.

    ``compile`` is what of the model was compiled, if anything.
    """

    model: str
    shift: str | None
    device: str
    dtype: str
    batch_size: Count
    input_size: tuple[int, int]
    mode: str
    compile: str | None = None
    compile_mode: str = "default"
    channels_last: bool = False


class TraceResult(Frozen):
    """One traced run.

    Attributes:
        run: the folder of the run, below the folder of the traces.
        case: what was traced; None where the trace does not say.
        file: the trace file.
        steps: how many runs of the model it holds.
        step_s: mean seconds of one, tracing included: no timing to compare.
        shift_share: fraction of the model's time inside the scopes of the shifts; None where the
            implementation has no shift of its own (a fused mixer).
        scopes: by name, with block and stage numbers merged.
        recommendations: of the parser, as plain text.
    """

    run: str
    case: TracedCase | None = None
    file: str
    steps: Count
    step_s: NotNegative | None
    shift_share: NotNegative | None
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
