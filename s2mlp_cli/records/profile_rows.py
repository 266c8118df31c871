"""How a row of a profile is spoken of: the same words in a report and in a comparison."""

from __future__ import annotations

from s2mlp_cli.records.profile import AUTO, Level, ProfileResult

LEVELS: dict[Level, str] = {"op": "shift alone", "block": "one block", "model": "whole model"}


def where(row: ProfileResult) -> str:
    """Return the model and the part of it that was timed: ``v2-small, one block of stage 0``."""
    stage = "" if row.stage is None else f" of stage {row.stage}"
    return f"{row.model}, {LEVELS[row.level]}{stage}"


def setting(
    row: ProfileResult,
    batch: bool = True,
    size: bool = True,
    threads: bool = True,
    dtype: bool = True,
) -> str:
    """Return how it was run: ``cpu, fp32, batch 8, 224×224, 2 threads``."""
    words = [row.device]
    words += [precision(row)] if dtype else []
    words += [f"batch {row.batch_size}"] if batch else []
    words += ["×".join(map(str, row.input_size))] if size else []
    words += [row.mode] if row.mode != "inference" else []
    return ", ".join([*words, *options(row, threads)])


def options(row: ProfileResult, threads: bool = True) -> list[str]:
    """Return what was switched on, and a CPU's threads."""
    switches = {
        _compiled(row): row.compiled,
        "CUDA graph": row.cuda_graph,
        "channels last": row.channels_last,
        f"{row.threads} thread{'s' if row.threads > 1 else ''}": threads and row.device == "cpu",
    }
    return [name for name, on in switches.items() if on]


def _compiled(row: ProfileResult) -> str:
    how = "block by block" if row.compile == "block" else "as a whole"
    mode = f" ({row.compile_mode})" if row.compile_mode not in (None, "default") else ""
    return f"compiled {how}{mode}" if row.level == "model" else f"compiled{mode}"


def precision(row: ProfileResult) -> str:
    """Return the dtype, and what the runtime computes in if that is another.

    ``auto (bf16)``, or ``int8 (in fp32)`` for an int8 file.
    """
    computed = row.runtime_precision
    if computed in (None, row.dtype):
        return row.dtype
    return f"{AUTO} ({computed})" if row.dtype == AUTO else f"{row.dtype} (in {computed})"


def implementation(row: ProfileResult) -> str:
    """Return the shift, and what ran it if that is not torch; a model may have no shift."""
    exported = row.source is not None and row.source.kind == "exported"
    name = row.shift or ("as exported" if exported else "no shift")
    return name if row.runtime == "torch" else f"{name} ({row.runtime})"


def peak_bytes(row: ProfileResult) -> int | None:
    """Return the peak that is known: what CUDA allocated, or a CPU process's resident set."""
    if row.memory is None:
        return None
    known = (row.memory.peak_allocated_bytes, row.memory.peak_rss_bytes)
    return next((value for value in known if value is not None), None)
