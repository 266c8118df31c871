"""Going on with an earlier record: which of it still holds here, and when it must be refused.

Rows of one record are compared with each other, so they have to mean the same: the same machine,
the same versions, the same models, timed in the same way. How long and in which order they were
measured may differ; the record then says so, run by run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from s2mlp_cli.errors import RecordError
from s2mlp_cli.records.base import Environment
from s2mlp_cli.records.profile import EarlierRun, ProfileRecord, ProfileSettings

_REMEDY = "start a new one without --resume"


def require_same(
    previous: ProfileRecord,
    environment: Environment,
    settings: ProfileSettings,
    specs: Mapping[str, Any],
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
    for name, spec in specs.items():
        if previous.specs.get(name, spec) != spec:
            raise RecordError(
                f"'{name}' was another model when the record to resume was measured (its spec has "
                f"changed); give it another name, or {_REMEDY}"
            )


def _facts(environment: Environment) -> Iterator[tuple[str, object]]:
    """Yield what a time depends on: the hardware and the versions."""
    for what in ("s2mlp", "cpu", "cpu_count", "gpus", "driver"):
        yield what, getattr(environment, what)
    yield from environment.packages.items()


def runs_before(previous: ProfileRecord) -> tuple[EarlierRun, ...]:
    """Return the runs that measured ``previous``: its earlier ones and its last."""
    known = sum(run.rows for run in previous.earlier)
    last = EarlierRun(
        created=previous.created,
        command=previous.command,
        settings=previous.settings,
        rows=len(previous.results) - known,
    )
    return (*previous.earlier, last)
