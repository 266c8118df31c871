"""Continuing an earlier record: its request, and when it must be refused.

Rows of one record are compared with each other, so they have to mean the same: the same machine,
the same versions, the same models, timed in the same way. How long and in which order they were
measured may differ; the record then says so, run by run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from s2mlp_cli.errors import RecordError
from s2mlp_cli.measure.source import GivenModel, reopen
from s2mlp_cli.records.base import Environment, changed
from s2mlp_cli.records.profile import EarlierRun, ProfileRecord, ProfileRequest, ProfileSettings
from s2mlp_cli.records.source import ModelSource
from s2mlp_cli.specs import from_record

_REMEDY = "start a new one without --resume"


def require_same(
    previous: ProfileRecord,
    environment: Environment,
    settings: ProfileSettings,
    specs: Mapping[str, Any],
    sources: Mapping[str, ModelSource],
) -> None:
    """Refuse to add rows to ``previous`` that would not mean what its own rows do.

    Raises:
        RecordError: another machine, version or way of timing, or another model of the same name.
    """
    here = dict(_facts(environment))
    for what, before in _facts(previous.environment):
        if here.get(what) != before:
            raise RecordError(
                f"the record to resume was measured with {what} {before}, here it is "
                f"{here.get(what)}; {_REMEDY}"
            )
    for what in ("host_time", "hot"):
        before = getattr(previous.settings, what)
        if before != getattr(settings, what):
            raise RecordError(
                f"the record to resume was measured {'with' if before else 'without'} "
                f"--{what.replace('_', '-')}; do the same, or {_REMEDY}"
            )
    for name, source in sources.items():
        before = previous.sources.get(name, source)
        if before.sha256 != source.sha256:
            raise RecordError(
                f"{source.path} has changed since the record to resume was measured (sha256 "
                f"{(source.sha256 or 'none')[:12]} instead of {(before.sha256 or 'none')[:12]}); "
                f"restore it, or {_REMEDY}"
            )
    for name, spec in specs.items():
        if _without_size(previous.specs.get(name, spec)) != _without_size(spec):
            raise RecordError(
                f"'{name}' was another model when the record to resume was measured (its spec has "
                f"changed); give it another name, or {_REMEDY}"
            )


def _facts(environment: Environment) -> Iterator[tuple[str, object]]:
    """Yield what a time depends on: the hardware and the versions."""
    for what in ("s2mlp", "cpu", "cpu_count", "gpus", "driver"):
        yield what, getattr(environment, what)
    yield from environment.packages.items()


def _without_size(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the image size, which every row has of its own."""
    return {key: value for key, value in spec.items() if key != "input_size"}


def runs_before(previous: ProfileRecord) -> tuple[EarlierRun, ...]:
    """Return the runs that measured ``previous``: its earlier ones and its last."""
    known = sum(run.rows for run in previous.earlier)
    last = EarlierRun(
        created=previous.created,
        command=previous.command,
        settings=previous.settings,
        rows=len(previous.results) - known,
        environment=previous.environment,
    )
    return (*previous.earlier, last)


def asked_of(previous: ProfileRecord) -> ProfileRequest:
    """Return the request of a record; one of 0.1.0 has none, but its rows tell."""
    if previous.request is not None or not previous.results:
        return previous.request or ProfileRequest(models=tuple(previous.specs))
    rows = previous.results
    last = rows[-1]
    return ProfileRequest(
        models=tuple(dict.fromkeys(row.model for row in rows)),
        shifts=tuple(dict.fromkeys(row.shift for row in rows if row.shift)),
        levels=tuple(dict.fromkeys(row.level for row in rows)),
        dtypes=tuple(dict.fromkeys(row.dtype for row in rows)),
        batch_sizes=tuple(dict.fromkeys(row.batch_size for row in rows)),
        mode=last.mode,
        compile=last.compile,
        compile_mode=last.compile_mode or "default",
        cuda_graph=last.cuda_graph,
        channels_last=any(row.channels_last for row in rows),
        device=last.device,
        threads=last.threads,
    )


def continued(
    previous: ProfileRecord,
    given: ProfileRequest,
    options: Mapping[str, str],
    models: tuple[GivenModel, ...] = (),
) -> tuple[ProfileRequest, tuple[GivenModel, ...]]:
    """Return the request to continue with: the record's, and what is added to it.

    A list may grow: ``--shift conv,roll`` after ``--shift conv``. Whatever else an option says
    must equal the record's request. (No sizes are the models' own, which others replace.)

    Args:
        previous: the record.
        given: what the command line asks for.
        options: field -> option, of those that were given.
        models: that the command line names; those of the record are opened again, as they were.

    Raises:
        RecordError: an option contradicts the record; the sentence names both.
        S2MLPError: the file of a model is gone or has changed since.
    """
    asked = asked_of(previous)
    fields: dict[str, Any] = {}
    for field, option in options.items():
        before, now = getattr(asked, field), getattr(given, field)
        may_grow = isinstance(before, tuple) and (before or field != "input_sizes")
        if now != before and not (may_grow and set(before) <= set(now)):
            others = f"add {_written(before)} to keep it, " if may_grow else ""
            raise RecordError(
                f"{option} {_written(now)} contradicts the record to resume, which has "
                f"{option} {_written(before)}; leave {option} out, {others}or {_REMEDY}"
            )
        fields[field] = now
    request = changed(asked, **fields)
    opened = {model.name for model in models}
    kept = [_reopened(previous, name) for name in request.models if name not in opened]
    return request, (*kept, *models)


def _reopened(previous: ProfileRecord, name: str) -> GivenModel:
    known = previous.specs.get(name)
    spec = from_record(known) if known else None
    source = previous.sources.get(name) or ModelSource(kind="spec", name=name)
    return reopen(source, spec)


def _written(value: object) -> str:
    """Write a value as its option takes it."""
    if isinstance(value, tuple):
        words = ["x".join(map(str, each)) if isinstance(each, tuple) else each for each in value]
        return ",".join(str(each or "max") for each in words) or "of the model's own"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "off" if value is None else str(value)
