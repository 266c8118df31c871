"""Continuing an earlier record: its request, and when it must be refused.

Rows of one record are compared with each other, so they have to mean the same: the same machine,
the same versions, the same models, timed in the same way. How long and in which order they were
measured may differ where a program resumes; the record then says so, run by run.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from s2mlp_cli.errors import RecordError
from s2mlp_cli.measure.source import GivenModel, reopen
from s2mlp_cli.records.base import Environment, changed
from s2mlp_cli.records.profile import EarlierRun, ProfileRecord, ProfileRequest, ProfileSettings
from s2mlp_cli.records.source import ModelSource
from s2mlp_cli.specs import from_record
from s2mlp_cli.specs.yaml_source import parse_value

# Options that are given once for each of their values; others take a list.
_REPEATED = ("--input-size", "--model")

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
        for file, sha256 in before.imports.items():
            if source.imports.get(file) != sha256:
                raise RecordError(
                    f"{file}, which {source.path} imports, has changed since the record to resume "
                    f"was measured; restore it, or {_REMEDY}"
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


def settled(
    previous: ProfileRecord, given: Mapping[str, object], options: Mapping[str, str]
) -> ProfileSettings:
    """Return the settings of a record, which the options that were given must not contradict.

    Args:
        previous: the record.
        given: field -> value of the command line.
        options: field -> option, of those that were given.

    Raises:
        RecordError: an option contradicts the record; the sentence names both.
    """
    for name in type(previous.settings).model_fields:
        before = getattr(previous.settings, name)
        if name in options and given[name] != before:
            raise _contradiction(options[name], given[name], before)
    return previous.settings


def require_arguments(previous: ProfileRecord, overrides: tuple[str, ...]) -> None:
    """Refuse ``--set key=value`` that no model or shift of the record has.

    Raises:
        RecordError: with the value that the record has, if it has one.
    """
    holders: dict[str, Mapping[str, Any]] = {
        name: source.arguments for name, source in previous.sources.items()
    }
    holders |= {name: spec for name, spec in previous.specs.items() if spec}
    for override in overrides:
        key, _, text = override.partition("=")
        known = {name: found for name, values in holders.items() for found in _at(values, key)}
        if parse_value(text, f"--set {override}") in known.values():
            continue
        found = [f"{name} with {key}={value}" for name, value in known.items()]
        raise RecordError(
            f"--set {override} contradicts the record to resume, which has "
            f"{', '.join(found) or f'nothing with {key}'}; leave --set out, or {_REMEDY}"
        )


def _at(values: Any, key: str) -> list[Any]:
    """Return the value at a dotted key (``stages.0.depth``), in a list; an empty one if none."""
    for part in key.split("."):
        if isinstance(values, list | tuple) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        elif isinstance(values, Mapping) and part in values:
            values = values[part]
        else:
            return []
    return [values]


def _contradiction(option: str, now: object, before: object, others: str = "") -> RecordError:
    return RecordError(
        f"{_written(option, now)} contradicts the record to resume, which has "
        f"{_written(option, before)}; leave {option} out, {others}or {_REMEDY}"
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
            typed = tuple(_typed(previous, each) for each in before) if may_grow else ()
            adds = may_grow and None not in typed
            others = f"add {_written(option, typed, adds=True)} to keep it, " if adds else ""
            raise _contradiction(option, now, before, others)
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


def _typed(previous: ProfileRecord, value: object) -> object:
    """Return a value of a list as a user types it; None for a name that ``--set`` made."""
    if isinstance(value, str) and "[" in value:
        return None
    source = previous.sources.get(value) if isinstance(value, str) else None
    return source.path or value if source and source.kind != "spec" else value or "max"


def _written(option: str, value: object, *, adds: bool = False) -> str:
    """Write an option with its value as it is given; of one that adds to a list, the addition."""
    if isinstance(value, tuple):
        words = [
            "x".join(map(str, each)) if isinstance(each, tuple) else str(each or "max")
            for each in value
        ]
        if option in _REPEATED:
            return " ".join(f"{option} {shlex.quote(word)}" for word in words) or (
                f"{option} of the model's own"
            )
        return ("" if adds else f"{option} ") + ",".join(words)
    if isinstance(value, bool):
        return f"{option} {'on' if value else 'off'}"
    return f"{option} {'off' if value is None else value}"
